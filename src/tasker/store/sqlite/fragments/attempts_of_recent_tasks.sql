-- The attempts of the newest tasks of a window, without those that were released, parked,
-- cancelled or resolved by hand. Parameters as in recent_tasks.sql, and :most_attempts int
{include recent_tasks}, ran as materialized (
    select a.task_id, r.template_id, a.no, a.template_node, a.outcome, a.error, a.settled_at,
           a.settled_at - a.claimed_at as seconds
    from recent r
    cross join attempt_history a
    where a.task_id = r.id and a.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RETRY}, {OUTCOME.ERROR}, {OUTCOME.LOST})
    limit :most_attempts
)
