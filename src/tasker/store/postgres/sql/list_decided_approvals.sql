-- Approvals that were decided, the latest first.
-- :namespace text or null, :visible text[] or null, of namespaces; :task_id uuid or null, :limit int
select {include approval_columns}
from approval a
join step s on s.task_id = a.task_id and s.no = a.no
join task t on t.id = a.task_id
join template p on p.id = t.template_id
left join wait w on w.task_id = a.task_id and w.no = a.no and w.call = a.call and w.kind = 'approval'
where a.decided_at is not null
  and (:task_id::uuid is null or a.task_id = :task_id)
  and (:namespace::text is null or p.namespace = :namespace)
  and (:visible::text[] is null or p.namespace = any (:visible))
order by a.decided_at desc, a.id
limit :limit::int
