-- Open an approval for a step that is about to wait; it replaces an earlier approval of the same call.
-- :id, :task_id uuid, :no int, :call, :form text, :assignees, :escalate_to text[],
-- :escalate_after float8 or null (seconds)
insert into approval (id, task_id, no, call, form, assignees, escalate_to, escalate_at)
values (:id::uuid, :task_id::uuid, :no, :call, :form::text::json, :assignees::text[], :escalate_to::text[],
        now() + :escalate_after::float8 * interval '1 s')
on conflict (task_id, no, call) do update
set id = excluded.id, form = excluded.form, assignees = excluded.assignees,
    escalate_to = excluded.escalate_to, escalate_at = excluded.escalate_at, opened_at = now(),
    escalated_at = null, decided_at = null, decided_by = null, decision = null
