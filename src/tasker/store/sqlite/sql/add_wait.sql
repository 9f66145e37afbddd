-- Let a step wait for one thing that may arrive; the wait ends after :timeout, or at :until.
-- :task_id text, :no int, :kind, :namespace, :name, :key, :call, :call_kind text,
-- :timeout real or null (seconds), :until real or null, :now real
insert into wait (task_id, no, kind, namespace, name, key, call, call_kind, began_at, wake_at)
values (:task_id, :no, :kind, :namespace, :name, :key, :call, :call_kind, :now,
        coalesce(:until, :now + :timeout))
on conflict do nothing
