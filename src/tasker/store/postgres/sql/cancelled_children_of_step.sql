-- The children of a step that were cancelled. :task_id uuid, :no int
select c.no
from step s
cross join lateral unnest(s.children) as e (no)
cross join lateral (select c.no from step c where c.task_id = :task_id::uuid and c.no = e.no and c.state = {CANCELLED} offset 0) c
where s.task_id = :task_id::uuid and s.no = :no::int
order by c.no
