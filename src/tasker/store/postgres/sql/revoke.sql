-- Tell workers to look at once whether what they hold is still theirs.
select pg_notify(current_schema() || '.revocation', '')
