-- Tell workers to check at once whether what they hold is still theirs.
create or replace function revoke() returns void language sql as $$
    select pg_notify(current_schema() || '.revocation', '')
$$;
