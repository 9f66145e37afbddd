-- Delete workers without claims whose lease expired before an instant. :ended_before, :now real
delete from worker
where lease_until < min(:ended_before, :now)
  and not exists (select 1 from step where step.worker = worker.id and step.state = {IN_PROGRESS})
