-- Provider hooks. :namespace text or null, :visible text[] or null, of namespaces
select * from hook
where true
  and (:namespace::text is null or namespace = :namespace)
  and (:visible::text[] is null or namespace = any (:visible))
order by namespace, name
