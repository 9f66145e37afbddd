-- Store a signal. :task_id text, :name text, :id text or null, :payload, :sent_by text, :now real
insert into signal (task_id, name, id, payload, sent_by, sent_at)
values (:task_id, :name, :id, :payload, :sent_by, :now)
returning number, sent_at
