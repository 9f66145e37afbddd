-- Add the escalation assignees to approvals whose escalation is due. :limit int, :now real
update approval
set escalated_at = :now, assignees = (
        select json_group_array(value) from (
            select value from json_each(approval.assignees)
            union
            select value from json_each(approval.escalate_to)
        )
    )
where id in (
    select id from approval
    where escalate_at <= :now and escalated_at is null and decided_at is null
    order by escalate_at
    limit :limit
)
returning task_id, no, escalate_to, exists (
    select 1 from wait w
    where w.task_id = approval.task_id and w.no = approval.no and w.call = approval.call and w.kind = 'approval'
) as waits
