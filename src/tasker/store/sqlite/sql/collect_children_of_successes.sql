-- Store the children of newly done steps in temp.child, with the number of their newly done parents.
insert into temp.child (task_id, no, parents, run_at, missed)
select g.task_id, c.value, count(*), min(g.run_at), 0
from temp.settled g, json_each(g.children) c
where g.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RESOLVED_MANUALLY})
group by g.task_id, c.value
order by c.value = 0, g.task_id, c.value   -- tasks last: the first :claim_up_to steps are the caller's
