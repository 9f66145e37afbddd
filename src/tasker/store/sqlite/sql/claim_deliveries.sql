-- Claim due deliveries. None overtakes an earlier one of its task.
-- :subscriptions text (JSON list), :limit int, :lease real (seconds until others may take them over), :now real
update delivery
set attempts = attempts + 1, next_at = :now + :lease
where id in (
    select c.id from subscription s
    join delivery c on c.subscription_id = s.id and c.status = 'pending' and c.next_at <= :now
    where s.id in (select value from json_each(:subscriptions)) and not s.paused
      and coalesce(s.blocked_until <= :now, true)
      and not exists (
          select 1 from delivery e
          where e.subscription_id = c.subscription_id and e.task_id = c.task_id
            and e.status = 'pending' and e.id < c.id
      )
    order by c.next_at, c.id
    limit :limit
)
returning id, subscription_id, event_no, attempts, since
