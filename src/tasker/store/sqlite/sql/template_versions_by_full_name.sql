-- The versions of every status with these names, oldest first.
-- :names text (JSON list of {namespace, name, version})
select * from template_version
where (namespace, name, version) in (
    select json_extract(value, '$.namespace'), json_extract(value, '$.name'), json_extract(value, '$.version')
    from json_each(:names)
)
order by id
