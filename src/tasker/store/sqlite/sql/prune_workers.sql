-- Delete workers without claims whose lease expired before an instant, or more than 30 days ago.
-- :ended_before real or null (only the latter), :now real
delete from worker
where lease_until < :now and (lease_until < :ended_before or lease_until < :now - 30 * 86400)
  and not exists (select 1 from step where step.worker = worker.id and step.state = {IN_PROGRESS})
