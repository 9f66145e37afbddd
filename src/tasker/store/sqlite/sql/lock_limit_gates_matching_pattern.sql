-- Gates of a namespace whose keys match a pattern of `like`. :namespace text, :pattern text
select id, namespace, key, declared from gate
where namespace = :namespace and key like :pattern escape '\' and task_id is null
order by id
