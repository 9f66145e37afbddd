-- Completed steps of a task that were made from one of these nodes, by number.
-- :task_id text, :nodes text (JSON list), :after int, :limit int
select no, coalesce(template_node, no) as node, spawned_by, instance from step
where task_id = :task_id and no > :after and state = {COMPLETE}
  and coalesce(template_node, no) in (select value from json_each(:nodes))
order by no
limit :limit
