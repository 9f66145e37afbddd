-- Ids of templates, replaced ones included. :namespace, :name, :version text, each or null
select id from template
where (:namespace is null or namespace = :namespace)
  and (:name is null or name = :name)
  and (:version is null or version = :version)
