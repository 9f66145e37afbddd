-- The given events, with the context of their task and the result of their step. :events bigint[]
select o.id, o.task_id::text, o.no, o.attempt, o.outcome, o.at, o.duration, o.name, o.step, o.correlation_id, o.payload,
       t.namespace, t.name as template, t.version, k.context, s.result
from outbox o
join template t on t.id = o.template_id
left join task k on k.id = o.task_id
left join step s on s.task_id = o.task_id and s.no = o.no and s.attempt = o.attempt
     and o.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RESOLVED_MANUALLY})
where o.id = any (:events)
