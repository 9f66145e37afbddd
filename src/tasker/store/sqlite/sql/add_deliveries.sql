-- Add a delivery for each subscription that an event matches. A subscription gets events from its creation on.
-- :events text (JSON list), :now real
insert into delivery (subscription_id, event_no, task_id, created_at, since, next_at)
select s.id, o.id, o.task_id, :now, :now, :now
from outbox o
join template t on t.id = o.template_id
join subscription s on s.namespace in (t.namespace, '*') and s.created_at <= o.at
where o.id in (select value from json_each(:events))
  and exists (select 1 from json_each(s.patterns) as p where o.name glob p.value)
order by o.id, s.id
