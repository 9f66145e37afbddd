-- Record that all steps that waited for a broadcast have received it.
-- :namespace, :name, :key text, :number int
update broadcast set delivered = 1
where namespace = :namespace and name = :name and key = :key and number = :number
