-- Which of the claims their workers no longer hold, by index from 1.
-- :workers bigint[], :tasks uuid[], :nos int[], :attempts int[], pairwise
select g.ord::int as ord
from unnest(:workers::bigint[], :tasks::uuid[], :nos::int[], :attempts::int[])
     with ordinality as g (worker, task_id, no, attempt, ord)
left join lateral (select * from step where step.task_id = g.task_id and step.no = g.no offset 0) s
     on s.state = {IN_PROGRESS} and s.attempt = g.attempt and s.worker = g.worker
where s.task_id is null
