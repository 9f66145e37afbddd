-- Steps that were created at run time, with the instances that their spawners are part of.
-- :steps text (JSON list of [task_id, no])
with recursive wanted as (
    select s.task_id, s.no, s.template_node, s.spawned_by, s.instance, s.item, s.undoes
    from json_each(:steps) as g
    join step s on s.task_id = json_extract(g.value, '$[0]') and s.no = json_extract(g.value, '$[1]')
    union
    select s.task_id, s.no, s.template_node, s.spawned_by, s.instance, s.item, s.undoes
    from wanted w
    join step s on s.task_id = w.task_id and s.no = w.spawned_by
    where s.template_node is not null
)
select task_id, no, template_node, spawned_by, instance, item, undoes
from wanted
