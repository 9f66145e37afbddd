-- Delete old events from among the oldest, but not before they are distributed and delivered.
-- :before real, :limit int
delete from outbox
where id in (select id from outbox order by id limit :limit)
  and at < :before
  and (distributed or not exists (select 1 from subscription))
  and not exists (select 1 from delivery d where d.event_no = outbox.id)
returning id
