-- The holders of the keys of new tasks, locked; place: which of the new tasks, from 0.
-- :templates int[], :keys text[]
select k.namespace, k.key, k.task_id::text as task_id, (g.ord - 1)::int as place
from unnest(:templates::int[], :keys::text[]) with ordinality as g (template_id, key, ord)
join template t on t.id = g.template_id
join task_key k on k.namespace = t.namespace and k.key = g.key
order by k.namespace, k.key collate "default"   -- as create_tasks inserts them
for update of k
