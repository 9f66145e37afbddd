-- Find the children of settlements with failures, skips or choices: see collect_children_of_successes.sql. A child
-- that is reached without success has missed that many parents. A skip frees no eager child.
insert into temp.child (task_id, no, parents, run_at, missed)
select edge.task_id, edge.no, sum(case when edge.missed and not edge.failed then 1 else edge.times end),
       min(edge.run_at), sum(edge.missed)
from (
    select g.task_id, c.value as no, min(g.run_at) as run_at, count(*) as times,
           g.outcome = {OUTCOME.ERROR} as failed,
           c.value > 0 and (g.outcome in ({OUTCOME.ERROR}, {OUTCOME.SKIPPED}) or (
               g.choice is not null and c.value not in (select value from json_each(g.choice))
           )) as missed
    from temp.settled g, json_each(case when g.outcome = {OUTCOME.ERROR} then g.on_error else g.children end) c
    where g.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.ERROR}, {OUTCOME.RESOLVED_MANUALLY}, {OUTCOME.SKIPPED})
    group by g.task_id, g.no, c.value
) edge
group by edge.task_id, edge.no
order by edge.no = 0, edge.task_id, edge.no
