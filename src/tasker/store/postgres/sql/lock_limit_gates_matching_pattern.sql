-- Gates of a namespace whose keys match a pattern of `like`, locked. :namespace text, :pattern text
select id, namespace, key, declared::text as declared from gate
where namespace = :namespace and key like :pattern and task_id is null
order by id
for no key update
