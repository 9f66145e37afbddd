-- Notify workers to check at once which of their claims they still hold.
create or replace function revoke() returns void language sql as $$
    select pg_notify(current_schema() || '.revocation', '')
$$;
