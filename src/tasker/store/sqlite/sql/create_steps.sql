-- Store the steps of new tasks; roots become enqueued. :now real, :tasks text: see create_tasks.sql
insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at,
                  queue_timeout, on_error)
select json_extract(g.value, '$[0]'), s.no, s.name,
       (s.queue_id + json_extract(g.value, '$[13]')) * case when p.paused = 1 then -1 else 1 end,   -- born paused
       s.pending_parents, s.children, case when s.pending_parents = 0 then {ENQUEUED} else {PENDING} end,
       case when s.pending_parents = 0 then coalesce(json_extract(g.value, '$[11]'), :now) end,
       case when s.pending_parents = 0 then :now end,
       s.queue_timeout, s.on_error
from json_each(:tasks) as g
join template p on p.id = json_extract(g.value, '$[1]')
join template_step s on s.template_id = p.id and s.scope = 0
