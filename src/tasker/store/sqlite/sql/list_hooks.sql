-- Provider hooks. :namespace text or null, :visible text (JSON list) or null, of namespaces
select * from hook
where true
  and (:namespace is null or namespace = :namespace)
  and (:visible is null or namespace in (select value from json_each(:visible)))
order by namespace, name
