-- Broadcasts whose delivery was interrupted. :older_than real (seconds), :limit int, :now real
select namespace, name, key, number, payload, sent_by, sent_at
from broadcast
where delivered = 0 and sent_at < :now - :older_than
order by sent_at
limit :limit
