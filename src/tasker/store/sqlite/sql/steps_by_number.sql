-- Given steps of a task. :task_id text, :nos text (JSON list)
select s.no, s.name, s.undoes, {include instance_path step=s} as instances, s.template_node, s.state,
       s.state = {ERROR} and not {include is_failure_unhandled step=s} as is_handled, exists (select 1 from json_each(s.on_error) where value = 0) as ends_task
from step s
where s.task_id = :task_id and s.no in (select value from json_each(:nos))
order by s.no
