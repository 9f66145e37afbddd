-- Record the steps {tasks}, {nos} as claimed at {at}, each for the worker at the place given in
-- {owners}.
insert into claim_batch as b (worker, claimed_at, open, tasks, nos)
select p_workers[c.owner], {at}, count(*)::int, array_agg(c.task_id), array_agg(c.no)
from unnest({owners}, {tasks}, {nos}) as c (owner, task_id, no)
group by 1
order by 1
{include on_conflict_merge_claim_batch}
