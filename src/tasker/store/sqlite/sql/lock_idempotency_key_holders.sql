-- The holders of the keys of new tasks; place: which of the new tasks, from 0.
-- :templates, :keys text (JSON lists)
select k.namespace, k.key, k.task_id, g.key as place
from json_each(:templates) as g
join json_each(:keys) as w on w.key = g.key
join template t on t.id = g.value
join task_key k on k.namespace = t.namespace and k.key = w.value
order by k.namespace, k.key
