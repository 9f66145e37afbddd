-- Lease due steps of one queue to several workers, the oldest first. :workers json (the worker of each
-- step, in their order), :queue int, :limit int (their number), :now real
update step
{include mark_claimed worker=turn.worker}
from (
    select c.task_id, c.no, w.value as worker
    from (select *, row_number() over () - 1 as place from ({include due_steps})) as c
    join json_each(:workers) as w on w.key = c.place
) as turn
where step.task_id = turn.task_id and step.no = turn.no
returning task_id, no, attempt, attempt - uncounted_attempts, checkpoint,
          {include queued_and_parked_seconds step=step}, worker
