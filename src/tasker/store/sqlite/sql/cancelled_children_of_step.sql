-- The children of a step that were cancelled. :task_id text, :no int
select no from step
where task_id = :task_id and +state = {CANCELLED}
  and no in (select e.value from step s, json_each(s.children) e where s.task_id = :task_id and s.no = :no)
order by no
