-- Assign, note or mute a cause of failures. :fingerprint, :namespace text, :assignee, :note text or
-- null (unchanged), :mutes integer (whether the next two replace what is stored),
-- :muted_until real or null, :muted_below text or null, :actor text, :now real
insert into failure_triage (fingerprint, namespace, assignee, note, muted_until, muted_below, updated_by, updated_at)
values (
    :fingerprint, :namespace, coalesce(:assignee, ''), coalesce(:note, ''),
    :muted_until, :muted_below, :actor, :now
)
on conflict (namespace, fingerprint) do update
set assignee = coalesce(:assignee, failure_triage.assignee),
    note = coalesce(:note, failure_triage.note),
    muted_until = case when :mutes then excluded.muted_until else failure_triage.muted_until end,
    muted_below = case when :mutes then excluded.muted_below else failure_triage.muted_below end,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at
returning fingerprint, namespace, assignee, note, muted_until, muted_below, updated_by, updated_at
