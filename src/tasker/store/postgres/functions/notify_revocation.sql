-- Notify workers to check immediately which of their claims they still hold.
create or replace function notify_revocation() returns void language sql as $$
    select pg_notify(current_schema() || '.revocation', '')
$$;
