-- Delete workers without claims whose lease expired before an instant. :ended_before timestamptz
delete from worker
where lease_until < least(:ended_before::timestamptz, now())
  and not exists (select from step where step.worker = worker.id and step.state = {IN_PROGRESS})
