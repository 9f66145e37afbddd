-- Delete old deliveries from among the oldest. :delivered_before, :dead_before timestamptz, :limit int
delete from delivery
where id in (select id from delivery order by id limit :limit::int)
  and (status = 'delivered' and settled_at < :delivered_before or status = 'dead' and settled_at < :dead_before)
