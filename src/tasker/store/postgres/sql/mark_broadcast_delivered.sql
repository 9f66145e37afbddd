-- Record that all steps that waited for a broadcast have received it.
-- :namespace, :name, :key text, :number bigint
update broadcast set delivered = true
where namespace = :namespace and name = :name and key = :key and number = :number
