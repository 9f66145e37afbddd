-- The number of roots of an approved template that no live worker can run.
-- :namespace, :name, :version text, :now real
select count(*) as roots
from template t
join template_step s on s.template_id = t.id and s.scope = 0 and s.pending_parents = 0
where t.namespace = :namespace and t.name = :name and t.version = :version
  and t.replaced_at is null and t.status = 'approved'
  and not {include has_live_worker queue=s.queue_id}
