-- Workers alive, or gone for less than a day. :now real
select w.id, w.name, w.started_at, w.lease_until, w.lease_until > :now,
       (select count(*) from step s where s.worker = w.id and s.state = 2), w.slots, w.handlers
from worker w
where w.lease_until > :now - 86400
order by w.id desc
