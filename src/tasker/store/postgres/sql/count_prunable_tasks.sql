-- How many tasks ended before the `retention` of their template, or before an instant where it has
-- none. :ended_before timestamptz or null (those are kept)
select count(*)::int as tasks
from (select p.id, {include retention_cutoff template=p} as until from template p) p
join task t on t.template_id = p.id and t.id < {include first_task_id_after instant=p.until}
where t.state <> {OPEN} and t.ended_at < p.until
  and not exists (select 1 from paged_action g where g.task_id = t.id)
