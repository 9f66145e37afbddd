-- The next failed steps of a task whose failure fails it; with :undoing, its failed compensating steps.
-- :task_id text, :undoing, :last_no, :until, :limit int
select no, name, undoes, {include instance_path step=s} as instances, template_node, state,
       not {include is_failure_unhandled step=s} as is_handled, exists (select 1 from json_each(s.on_error) where value = 0) as ends_task
from step s
where task_id = :task_id and no > :last_no and no <= :until
  and +state = {ERROR} and case when :undoing then undoes is not null else {include is_failure_unhandled step=s} end
order by no
limit :limit
