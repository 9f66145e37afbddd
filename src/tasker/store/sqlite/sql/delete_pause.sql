-- Delete a pause, and return it. :kind, :namespace, :name text
delete from pause where name = :name and kind = :kind and namespace = :namespace
returning *
