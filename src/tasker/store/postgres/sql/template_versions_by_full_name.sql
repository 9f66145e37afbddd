-- The versions of every status with these names, oldest first.
-- :names text (JSON list of {namespace, name, version})
select * from template_version
where (namespace, name, version) in (
    select n.namespace, n.name, n.version
    from json_to_recordset(:names::text::json) as n (namespace text, name text, version text)
)
order by id
