-- Workers whose lease is valid or expired less than a day ago.
select w.id, w.name, w.started_at, w.lease_until, w.lease_until > now() as alive,
       (select coalesce(sum(b.open), 0) from claim_batch b where b.worker = w.id) as running, w.slots, w.handlers,
       w.labels, w.build, w.sdk, w.principal, w.host, w.machine, w.pid, w.pid_started
from worker w
where w.lease_until > now() - interval '1 day'
order by w.id desc
