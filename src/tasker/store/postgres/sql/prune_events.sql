-- Delete old events from among the oldest, but not before they are distributed and delivered.
-- :before timestamptz, :limit int
delete from outbox o
where o.id in (select id from outbox order by id limit :limit::int)
  and o.at < :before
  and (o.distributed or not exists (select from subscription))
  and not exists (select from delivery d where d.event_no = o.id)
returning o.id
