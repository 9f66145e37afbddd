-- Delete a provider hook. :namespace, :name text
delete from hook where namespace = :namespace and name = :name
returning *
