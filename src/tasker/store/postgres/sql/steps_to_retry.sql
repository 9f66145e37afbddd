-- The next failed steps of a task whose failure fails it; with :undoing, its failed compensating steps.
-- :task_id uuid, :undoing bool, :last_no, :until, :limit int
select no, name, undoes, {include instance_path step=s} as instances, template_node, state,
       not {include is_failure_unhandled step=s} as is_handled, coalesce(0 = any (s.on_error), false) as ends_task
from step s
where task_id = :task_id::uuid and no > :last_no::int and no <= :until::int
  and state = {ERROR} and case when :undoing::boolean then undoes is not null else {include is_failure_unhandled step=s} end
order by no
limit :limit::int
