a.id, a.task_id, a.no, a.call, s.name as step, p.namespace, p.name, p.version,
t.title, a.form, a.assignees, a.opened_at, w.wake_at as due_at, a.escalate_at, a.escalated_at,
a.decided_at, a.decided_by, a.decision, w.task_id is not null as waits
