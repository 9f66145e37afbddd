-- Tasks that ended before the `retention` of their template, or before an instant where it has
-- none. :now real, :ended_before real or null (those are kept), :limit int
select t.id
from (select p.id, {include retention_cutoff template=p} as until from template p) p
cross join task t indexed by task_template
     on t.template_id = p.id and t.id < {include first_task_id_after instant=p.until}
where t.state <> {OPEN} and t.ended_at < p.until
  and not exists (select 1 from paged_action g where g.task_id = t.id)
limit :limit
