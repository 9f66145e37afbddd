-- Results of steps that are done, and errors and states of steps that ended otherwise. :tasks uuid[], :nos int[],
-- pairwise
select s.task_id::text, s.no, s.result::text, s.state, case when s.state in ({ERROR}, {SKIPPED}) then s.error::text end
from unnest(:tasks::uuid[], :nos::int[]) as g (task_id, no)
cross join lateral (select * from step where step.task_id = g.task_id and step.no = g.no offset 0) s
where s.state in ({COMPLETE}, {ERROR}, {SKIPPED}, {RESOLVED_MANUALLY})
