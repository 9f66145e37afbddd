-- Delete gates that no step uses any more: all tasks that were created while they were in use are deleted
-- or, for the gate of a map, its task is. `used_at` is accurate to the day.
delete from gate
where used_at < now() - 2 * interval '1 day'
  and case when task_id is null
           then used_at + interval '1 day' < coalesce((select created_at from task order by id limit 1), now())
           else not exists (select 1 from task where task.id = gate.task_id) end
  and not exists (select 1 from gate_claim where gate_claim.gate_id = gate.id)
