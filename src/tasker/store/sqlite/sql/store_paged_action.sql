-- Store up to which number an action has changed the steps of a task, so that it can be continued.
-- :task_id text, :kind text, :last_no int, :details text (JSON)
insert into paged_action (task_id, kind, last_no, details)
values (:task_id, :kind, :last_no, :details)
on conflict (task_id, kind) do update set last_no = excluded.last_no, details = excluded.details
