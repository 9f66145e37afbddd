-- Open an approval for a step that is about to wait; it replaces an earlier approval of the same call.
-- :id, :task_id text, :no int, :call, :form text, :assignees, :escalate_to text (JSON lists),
-- :escalate_after real or null (seconds), :now real
insert into approval (id, task_id, no, call, form, assignees, escalate_to, escalate_at, opened_at)
values (:id, :task_id, :no, :call, :form, :assignees, :escalate_to, :now + :escalate_after, :now)
on conflict (task_id, no, call) do update
set id = excluded.id, form = excluded.form, assignees = excluded.assignees,
    escalate_to = excluded.escalate_to, escalate_at = excluded.escalate_at, opened_at = excluded.opened_at,
    escalated_at = null, decided_at = null, decided_by = null, decision = null
