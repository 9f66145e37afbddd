-- Add the escalation assignees to approvals whose escalation is due. :limit int
with due as (
    select id from approval
    where escalate_at <= now() and escalated_at is null and decided_at is null
    order by escalate_at
    limit :limit::int
    for update skip locked
)
update approval a
set escalated_at = now(), assignees = array(
        select distinct unnest(a.assignees || a.escalate_to) order by 1
    )
from due
where a.id = due.id
returning a.task_id::text as task_id, a.no, a.escalate_to, exists (
    select from wait w where w.task_id = a.task_id and w.no = a.no and w.call = a.call and w.kind = 'approval'
) as waits
