-- Approvals that steps wait for, the oldest first.
-- :names text[] or null (assignees), :namespace text or null, :visible text[] or null, of namespaces;
-- :task_id uuid or null, :after uuid or null, :limit int
select {include approval_columns}
from wait w
join approval a on a.task_id = w.task_id and a.no = w.no and a.call = w.call
join step s on s.task_id = a.task_id and s.no = a.no
join task t on t.id = a.task_id
join template p on p.id = t.template_id
where w.kind = 'approval'
  and (:task_id::uuid is null or w.task_id = :task_id)
  and (:names::text[] is null or cardinality(a.assignees) = 0 or a.assignees && :names)
  and (:namespace::text is null or p.namespace = :namespace)
  and (:visible::text[] is null or p.namespace = any (:visible))
  and (:after::uuid is null or a.id > :after)
order by a.id
limit :limit::int
