-- Workers whose lease is valid or expired less than a day ago. :now real
select w.id, w.name, w.started_at, w.lease_until, w.lease_until > :now as alive,
       (select count(*) from step s where s.worker = w.id and s.state = {IN_PROGRESS}) as running, w.slots, w.handlers,
       w.labels, w.build, w.sdk, w.principal, w.host, w.machine, w.pid, w.pid_started
from worker w
where w.lease_until > :now - 86400
order by w.id desc
