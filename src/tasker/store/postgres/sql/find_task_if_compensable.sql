-- The task, if it is open and its end in :state must be compensated: a step that declares a compensation is
-- complete, or may still complete.
-- :task_id uuid, :state int
select t.id::text as id from task t join template p on p.id = t.template_id
where t.id = :task_id::uuid and t.state = {OPEN} and t.ending is null and p.compensation_node is not null
  and :state::int = any (p.compensates_on)
  and exists (
      select 1 from step s join template_step b on b.template_id = t.template_id and b.no = coalesce(s.template_node, s.no)
      where s.task_id = t.id and s.state in ({COMPLETE}, {IN_PROGRESS}) and b.compensated_by is not null
  )
