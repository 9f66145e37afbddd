-- Give a task its key back, unless an open task holds it or a task that keeps it after its end.
-- :task_id text, :namespace, :key, :digest text
insert into task_key (namespace, key, task_id, digest, unique_while)
values (:namespace, :key, :task_id, :digest, 'open')
on conflict (namespace, key) do update
set task_id = excluded.task_id, digest = excluded.digest
where task_key.unique_while = 'open'
  and exists (select 1 from task h where h.id = task_key.task_id and h.state <> {OPEN})
