-- Add a delivery for each subscription that an event matches. A subscription gets events from its creation on.
-- :events bigint[]
insert into delivery (subscription_id, event_no, task_id)
select s.id, o.id, o.task_id
from outbox o
join template t on t.id = o.template_id
join subscription s on s.namespace in (t.namespace, '*') and s.created_at <= o.at
where o.id = any (:events)
  and exists (select from unnest(s.patterns) as p where o.name like replace(replace(p, '_', '\_'), '*', '%'))
order by o.id, s.id
