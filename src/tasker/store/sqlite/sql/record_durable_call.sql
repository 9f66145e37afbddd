-- Record the durable call of a step; an existing one is not changed. :task_id text, :no int, :name, :kind, :content text
insert into durable_call (task_id, no, name, kind, value)
values (:task_id, :no, :name, :kind, :content)
on conflict do nothing
