-- Claim due deliveries, some of each subscription. None overtakes an earlier one of its task.
-- :subscriptions int[], :limit int (of one subscription), :lease float8 (seconds until others may take them over)
update delivery d
set attempts = d.attempts + 1, next_at = now() + :lease::float8 * interval '1 s'
from (
    select due.id
    from subscription s
    cross join lateral (
        select c.id from delivery c
        where c.subscription_id = s.id and c.status = 'pending' and c.next_at <= now()
          and not exists (
              select from delivery e
              where e.subscription_id = c.subscription_id and e.task_id = c.task_id
                and e.status = 'pending' and e.id < c.id
          )
        order by c.next_at, c.id
        limit :limit::int
        for update skip locked
    ) due
    where s.id = any (:subscriptions) and not s.paused and coalesce(s.blocked_until <= now(), true)
) claimed
where d.id = claimed.id
returning d.id, d.subscription_id, d.event_no, d.attempts, d.since
