-- Insert compensating steps; existing ones are not changed.
-- :task_id uuid, :first_no int, :keep_going bool, :steps text (JSON list of [place, node, undoes, pending_parents,
-- [place, ...]])
with made as (
    insert into step (task_id, no, name, queue_id, pending_parents, children, on_error, state, run_at, enqueued_at,
                      queue_timeout, template_node, spawned_by, instance, item, undoes)
    select t.id, :first_no::int + g.place, b.name, (b.queue_id + t.priority) * case when t.paused then -1 else 1 end,
           g.parents, g.children, case when :keep_going::boolean then g.children end,
           case when g.parents = 0 then {ENQUEUED} else {PENDING} end,
           case when g.parents = 0 then now() end, case when g.parents = 0 then now() end,
           b.queue_timeout, b.no, o.spawned_by, o.instance, o.item, o.no
    from (
        select (s.value ->> 0)::int as place, (s.value ->> 1)::int as node, (s.value ->> 2)::int as undoes,
               (s.value ->> 3)::int as parents,
               array(select :first_no::int + c::int from json_array_elements_text(s.value -> 4) as c) as children
        from json_array_elements(:steps::text::json) as s (value)
    ) g
    join task t on t.id = :task_id::uuid
    join template_step b on b.template_id = t.template_id and b.no = g.node
    join step o on o.task_id = t.id and o.no = g.undoes
    on conflict do nothing
    returning *
), entries as (
    {include insert_due_rows steps=made}
)
select no from made
