-- Store a broadcast. :namespace, :name, :key text, :id text or null, :payload, :sent_by text, :now real
insert into broadcast (namespace, name, key, id, payload, sent_by, sent_at)
values (:namespace, :name, :key, :id, :payload, :sent_by, :now)
returning number, payload, sent_by, sent_at
