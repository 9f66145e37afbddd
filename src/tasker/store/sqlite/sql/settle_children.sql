-- Find the children of the steps that are done now, and how many of their parents are.
insert into temp.child (task_id, no, parents, run_at)
select g.task_id, c.value, count(*), min(g.run_at)
from temp.settled g, json_each(g.children) c
where g.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RESOLVED_MANUALLY})
group by g.task_id, c.value
