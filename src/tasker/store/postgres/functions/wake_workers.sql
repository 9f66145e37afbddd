-- Wake waiting workers, if there are any: notifying takes a lock that all commits of the database
-- share, so it is only done if needed.
create or replace function wake_workers() returns void language plpgsql as $$
begin
    if exists (select from worker where idle and lease_until > now()) then
        perform pg_notify(current_schema() || '.work', '');
    end if;
end $$;
