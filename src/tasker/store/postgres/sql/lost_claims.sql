-- Which of the claims the worker no longer holds, by index from 1.
-- :worker bigint; :tasks uuid[], :nos int[], :attempts int[], pairwise
select g.ord::int as ord
from unnest(:tasks::uuid[], :nos::int[], :attempts::int[]) with ordinality as g (task_id, no, attempt, ord)
left join step s on s.task_id = g.task_id and s.no = g.no
     and s.state = {IN_PROGRESS} and s.attempt = g.attempt and s.worker = :worker
where s.task_id is null
