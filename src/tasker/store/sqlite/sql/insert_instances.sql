-- Insert instances of a body. Those that exist already are left as they are.
-- :task_id text, :join_no, :spawner, :body, :first_node, :size, :first_no, :first_instance, :begin int, :delay real,
-- :items text (JSON list of texts or nulls), :now real
insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at,
                  queue_timeout, template_node, spawned_by, instance, on_error, item, gate_id, outer_gate_id)
select t.id, g.offset_no + b.no, b.name, (b.queue_id + t.priority) * case when t.paused = 1 then -1 else 1 end,
       b.pending_parents,
       (select json_group_array(case when c.value >= :first_node and c.value < :first_node + :size
                                     then g.offset_no + c.value else :join_no end)
        from json_each(b.children) as c),
       case when b.pending_parents = 0 then {ENQUEUED} else {PENDING} end,
       case when b.pending_parents = 0 then :now + :delay end,
       case when b.pending_parents = 0 then :now end,
       b.queue_timeout, b.no, :spawner, :first_instance + g.place,
       case when b.on_error is not null then
           (select json_group_array(case when c.value >= :first_node and c.value < :first_node + :size
                                         then g.offset_no + c.value else :join_no end)
            from json_each(b.on_error) as c)
       end,
       g.item, n.gate_id, n.outer_gate_id
from task t
cross join (
    select :begin + key as place, value as item, :first_no + (:begin + key) * :size - :first_node as offset_no
    from json_each(:items)
) g
join template_step b on b.template_id = t.template_id and b.scope = :body
left join body_gate n on n.task_id = t.id and n.node = b.no
where t.id = :task_id
on conflict do nothing
returning children = '[' || :join_no || ']', state
