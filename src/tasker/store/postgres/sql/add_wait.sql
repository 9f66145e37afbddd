-- Let a step wait for one thing that may arrive; the wait ends after :timeout, or at :until.
-- :task_id uuid, :no int, :kind, :namespace, :name, :key, :call, :call_kind text,
-- :timeout float8 or null (seconds), :until timestamptz or null
insert into wait (task_id, no, kind, namespace, name, key, call, call_kind, wake_at)
values (:task_id::uuid, :no, :kind, :namespace, :name, :key, :call, :call_kind,
        coalesce(:until::timestamptz, now() + :timeout::float8 * interval '1 s'))
on conflict do nothing
