-- Store a signal. :task_id uuid, :name text, :id text or null, :payload, :sent_by text
insert into signal (task_id, name, id, payload, sent_by)
values (:task_id::uuid, :name, :id, :payload::text::json, :sent_by)
returning number, sent_at
