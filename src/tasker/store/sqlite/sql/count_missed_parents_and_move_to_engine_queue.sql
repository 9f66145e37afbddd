-- Count the parents that arrived at children without success, and move these children to the queue of the engine,
-- which decides whether they run.
update step
set missed_parents = coalesce(step.missed_parents, 0) + c.missed,
    queue_id = (
        select (e.id + abs(step.queue_id) % 5) * case when step.queue_id < 0 then -1 else 1 end
        from queue q
        join queue e on e.namespace = q.namespace and e.handler = 'tasker.engine'
             and e.requirement = '' and e.gated = 0
        where q.id = abs(step.queue_id) / 5 * 5
    )
from temp.child c
where c.missed > 0 and step.task_id = c.task_id and step.no = c.no and +step.state in ({PENDING}, {CANCELLED})
  and step.undoes is null -- which runs all the same
