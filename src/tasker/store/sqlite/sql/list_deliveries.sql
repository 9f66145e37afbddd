-- Deliveries of a subscription, newest first. :namespace, :name text; :status text or null, :after int or null, :limit int
select d.id, s.name as subscription, s.namespace, d.status, d.attempts, d.created_at, d.next_at, d.settled_at, d.log,
       o.task_id, o.no, o.attempt, o.name as event
from subscription s
join delivery d on d.subscription_id = s.id
join outbox o on o.id = d.event_no
where s.namespace = :namespace and s.name = :name
  and (:status is null or d.status = :status)
  and (:after is null or d.id < :after)
order by d.id desc
limit :limit
