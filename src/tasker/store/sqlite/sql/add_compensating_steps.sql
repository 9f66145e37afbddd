-- Insert compensating steps; existing ones are not changed.
-- :task_id text, :first_no int, :keep_going int, :steps text (JSON list of [place, node, undoes, pending_parents,
-- [place, ...]]), :now real
insert into step (task_id, no, name, queue_id, pending_parents, children, on_error, state, run_at, enqueued_at,
                  queue_timeout, template_node, spawned_by, instance, item, undoes)
select t.id, :first_no + g.place, b.name, (b.queue_id + t.priority) * case when t.paused = 1 then -1 else 1 end,
       g.parents, g.children, case when :keep_going then g.children end,
       case when g.parents = 0 then {ENQUEUED} else {PENDING} end,
       case when g.parents = 0 then :now end, case when g.parents = 0 then :now end,
       b.queue_timeout, b.no, o.spawned_by, o.instance, o.item, o.no
from (
    select json_extract(s.value, '$[0]') as place, json_extract(s.value, '$[1]') as node,
           json_extract(s.value, '$[2]') as undoes, json_extract(s.value, '$[3]') as parents,
           (select json_group_array(:first_no + c.value) from json_each(s.value, '$[4]') as c) as children
    from json_each(:steps) as s
) g
-- cross joins: in this order, so that each of them is found by its key
cross join task t on t.id = :task_id
cross join template_step b on b.template_id = t.template_id and b.no = g.node
cross join step o on o.task_id = t.id and o.no = g.undoes
where true
on conflict do nothing
returning no
