-- A broadcast with an id. :namespace, :name, :key, :id text
select number, payload::text as payload, sent_by, sent_at from broadcast
where namespace = :namespace and name = :name and key = :key and id = :id
