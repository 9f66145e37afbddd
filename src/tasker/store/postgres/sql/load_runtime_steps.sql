-- Steps that were created at run time, with the instances that their spawners are part of.
-- :tasks uuid[], :nos int[], pairwise
with recursive wanted as (
    select s.* from unnest(:tasks::uuid[], :nos::int[]) as g (task_id, no)
    cross join lateral (
        select task_id, no, template_node, spawned_by, instance, item::text as item, undoes from step
        where step.task_id = g.task_id and step.no = g.no
        offset 0
    ) s
    union
    select s.* from (select distinct task_id, spawned_by from wanted) w
    cross join lateral (
        select task_id, no, template_node, spawned_by, instance, item::text as item, undoes from step
        where step.task_id = w.task_id and step.no = w.spawned_by
        offset 0
    ) s
    where s.template_node is not null
)
select task_id::text as task_id, no, template_node, spawned_by, instance, item, undoes
from wanted
