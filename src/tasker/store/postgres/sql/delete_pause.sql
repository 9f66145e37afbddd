-- Remove a pause. :kind, :namespace, :name text
delete from pause where name = :name and kind = :kind and namespace = :namespace
returning *
