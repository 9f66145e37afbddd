-- Record a durable call of a step that waits. :task_id text, :no int, :name, :kind, :content text
insert into durable_call (task_id, no, name, kind, value)
values (:task_id, :no, :name, :kind, :content)
on conflict do nothing
