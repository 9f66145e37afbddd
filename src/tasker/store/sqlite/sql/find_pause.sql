-- A pause. :kind, :namespace, :name text
select * from pause where name = :name and kind = :kind and namespace = :namespace
