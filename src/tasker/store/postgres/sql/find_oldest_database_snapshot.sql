-- The session, prepared transaction or replication slot that has kept vacuum from removing dead rows the longest;
-- without the texts of queries.
select kind, name, role, pid, state, extract(epoch from age)::float8 as age_seconds, transactions
from (
    select 'session' as kind, coalesce(a.application_name, '') as name, coalesce(a.usename, '')::text as role, a.pid,
           coalesce(a.state, '') as state, (clock_timestamp() - a.xact_start) as age,
           greatest(age(a.backend_xmin), age(a.backend_xid)) as transactions
    from pg_stat_activity a
    where a.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker'
      and (a.datname = current_database() or a.backend_type = 'walsender')
      and coalesce(a.backend_xmin, a.backend_xid) is not null
    union all
    select 'prepared transaction', p.gid, p.owner::text, null, '', clock_timestamp() - p.prepared, age(p.transaction)
    from pg_prepared_xacts p
    where p.database = current_database()
    union all
    select 'replication slot', r.slot_name::text, '', r.active_pid, '', null, age(r.xmin)
    from pg_replication_slots r
    where r.xmin is not null
) as holder
order by transactions desc, age desc nulls last
limit 1
