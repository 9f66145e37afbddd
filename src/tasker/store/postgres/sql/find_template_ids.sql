-- Ids of templates, replaced ones included.
-- :namespace, :name, :version text, each or null; :visible text[] or null, of namespaces
select id from template
where (:namespace::text is null or namespace = :namespace)
  and (:name::text is null or name = :name)
  and (:version::text is null or version = :version)
  and (:visible::text[] is null or namespace = any (:visible))
