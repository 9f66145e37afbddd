-- Steps that were made at run time, with those that their spawners are part of.
-- :tasks uuid[], :nos int[], pairwise
with recursive wanted as (
    select s.task_id, s.no, s.template_node, s.spawned_by, s.instance, s.item::text as item, s.undoes
    from unnest(:tasks::uuid[], :nos::int[]) as g (task_id, no)
    join step s on s.task_id = g.task_id and s.no = g.no
    union
    select s.task_id, s.no, s.template_node, s.spawned_by, s.instance, s.item::text as item, s.undoes
    from wanted w
    join step s on s.task_id = w.task_id and s.no = w.spawned_by
    where s.template_node is not null
)
select task_id::text as task_id, no, template_node, spawned_by, instance, item, undoes
from wanted
