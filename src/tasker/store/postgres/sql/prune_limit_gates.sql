-- Delete the gates that no step passes any more: all tasks that were created while they were used are
-- gone, or the task of a map's gate. `used_at` is right to the day.
delete from gate
where used_at < now() - 2 * interval '1 day'
  and case when task_id is null
           then used_at + interval '1 day' < coalesce((select created_at from task order by id limit 1), now())
           else not exists (select 1 from task where task.id = gate.task_id) end
  and not exists (select 1 from gate_claim where gate_claim.gate_id = gate.id)
