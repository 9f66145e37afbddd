-- Ids of templates, replaced ones included.
-- :namespace, :name, :version text, each or null; :visible text (JSON list) or null, of namespaces
select id from template
where (:namespace is null or namespace = :namespace)
  and (:name is null or name = :name)
  and (:version is null or version = :version)
  and (:visible is null or namespace in (select value from json_each(:visible)))
