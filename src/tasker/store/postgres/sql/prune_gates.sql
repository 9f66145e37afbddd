-- Delete the gates that no step passes any more: all tasks that were created while they were used, are
-- gone. `used_at` is right to the day.
delete from gate
where task_id is null and used_at < now() - 2 * interval '1 day'
  and used_at + interval '1 day' < coalesce((select created_at from task order by id limit 1), now())
  and not exists (select 1 from gate_claim where gate_claim.gate_id = gate.id)
