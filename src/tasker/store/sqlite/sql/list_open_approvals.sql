-- Approvals that steps wait for, the oldest first.
-- :names text (JSON list) or null (assignees), :namespace text or null, :visible text (JSON list) or null, of
-- namespaces; :task_id text or null, :after text or null, :limit int
select {include approval_columns}
from wait w
join approval a on a.task_id = w.task_id and a.no = w.no and a.call = w.call
join step s on s.task_id = a.task_id and s.no = a.no
join task t on t.id = a.task_id
join template p on p.id = t.template_id
where w.kind = 'approval'
  and (:task_id is null or w.task_id = :task_id)
  and (:names is null or a.assignees = '[]' or exists (select 1 from json_each(a.assignees) e where e.value in (select value from json_each(:names))))
  and (:namespace is null or p.namespace = :namespace)
  and (:visible is null or p.namespace in (select value from json_each(:visible)))
  and (:after is null or a.id > :after)
order by a.id
limit :limit
