-- How many roots of an approved template no live worker can run.
-- :namespace, :name, :version text, :priority int, :now real
select count(*) as roots
from template t
join template_step s on s.template_id = t.id and s.pending_parents = 0
where t.namespace = :namespace and t.name = :name and t.version = :version
  and t.replaced_at is null and t.status = 'approved'
  and not exists (
      select 1 from worker w, json_each(w.queues) q
      where w.lease_until > :now and q.value = s.queue_id + :priority
  )
