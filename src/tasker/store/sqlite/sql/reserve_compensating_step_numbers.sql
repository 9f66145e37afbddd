-- Reserve the numbers of compensating steps. :task_id text, :no, :steps int
insert into spawn (task_id, join_no, first_instance, instances, first_no, size, no, key)
select t.id, :no, 0, :steps,
       coalesce(t.last_no, (select max(b.no) from template_step b where b.template_id = t.template_id)) + 1, 1, :no, ''
from task t where t.id = :task_id
returning first_no
