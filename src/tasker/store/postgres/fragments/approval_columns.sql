a.id::text as id, a.task_id::text as task_id, a.no, a.call, s.name as step, p.namespace, p.name, p.version,
t.title, a.form::text as form, a.assignees, a.opened_at, w.wake_at as due_at, a.escalate_at, a.escalated_at,
a.decided_at, a.decided_by, a.decision::text as decision, w.task_id is not null as waits
