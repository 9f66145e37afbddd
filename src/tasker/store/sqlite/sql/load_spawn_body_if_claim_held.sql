-- The template and the body of a spawn, how many instances its join has, and the greatest number of a step of the
-- task; no row if the attempt no longer holds the spawner.
-- :task_id text, :no int, :attempt int, :join_no int, :body int
select t.template_id, b.first_node, b.size,
       coalesce((
           select n.first_instance + n.instances from spawn n
           where n.task_id = t.id and n.join_no = :join_no
           order by n.first_instance desc limit 1
       ), 0),
       coalesce(t.last_no, (select max(no) from template_step where template_id = t.template_id))
from step s
join task t on t.id = s.task_id
join (
    select template_id, min(no) as first_node, count(*) as size from template_step
    where scope = :body group by template_id
) b on b.template_id = t.template_id
where s.task_id = :task_id and s.no = :no and s.attempt = :attempt and s.state = {IN_PROGRESS}
