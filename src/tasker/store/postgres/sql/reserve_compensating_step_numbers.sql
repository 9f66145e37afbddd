-- Reserve the numbers of compensating steps. :task_id uuid, :no, :steps int
insert into spawn (task_id, join_no, first_instance, instances, first_no, size, no, key)
select t.id, :no::int, 0, :steps::int,
       coalesce(t.last_no, (select max(b.no) from template_step b where b.template_id = t.template_id)) + 1, 1, :no::int, ''
from task t where t.id = :task_id::uuid
returning first_no
