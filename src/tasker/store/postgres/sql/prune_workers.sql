-- Delete workers without claims whose lease expired before an instant, or more than 30 days ago.
-- :ended_before timestamptz or null (only the latter)
delete from worker
where lease_until < now()
  and (lease_until < :ended_before::timestamptz or lease_until < now() - interval '30 days')
  and not exists (select from claim_batch b where b.worker = worker.id)
