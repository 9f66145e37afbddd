-- Schedules that have a tick to handle, longest waiting first. :limit int
select s.id, s.namespace, s.name, s.template, s.version, s.spec, s.declared_by, s.paused, s.revision,
       s.next_at, s.look_at, s.last_tick, s.last_task::text as last_task, s.created_by, s.created_at, s.updated_at,
       (select count(*) from schedule_tick t where t.schedule_id = s.id and t.outcome = 'buffered') as buffered,
       exists (select from task k where k.id = s.last_task and k.state = {OPEN}) as is_running, now() as now
from schedule s
where not s.paused and s.look_at <= now()
order by s.look_at
limit :limit::int
