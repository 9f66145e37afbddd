-- Completed steps of a task that were made from one of these nodes, by number.
-- :task_id uuid, :nodes int[], :after int, :limit int
select no, coalesce(template_node, no) as node, spawned_by, instance from step
where task_id = :task_id::uuid and no > :after and state = {COMPLETE} and coalesce(template_node, no) = any (:nodes::int[])
order by no
limit :limit
