-- Store a history row for each attempt but first successes; see attempt_history. :now real
insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at, error)
select s.task_id, s.no, s.attempt, g.outcome, s.worker, s.enqueued_at, s.claimed_at, :now, g.error
from temp.settled g
join step s on s.task_id = g.task_id and s.no = g.no
where g.outcome <> {OUTCOME.COMPLETE} or s.attempt > 1
