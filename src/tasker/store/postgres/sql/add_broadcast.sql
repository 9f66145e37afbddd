-- Store a broadcast. :namespace, :name, :key text, :id text or null, :payload, :sent_by text
insert into broadcast (namespace, name, key, id, payload, sent_by)
values (:namespace, :name, :key, :id, :payload::text::json, :sent_by)
returning number, payload::text as payload, sent_by, sent_at
