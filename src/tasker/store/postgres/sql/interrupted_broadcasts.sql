-- Broadcasts whose delivery was interrupted. :older_than float8 (seconds), :limit int
select namespace, name, key, number, payload::text as payload, sent_by, sent_at
from broadcast
where not delivered and sent_at < now() - :older_than::float8 * interval '1 s'
order by sent_at
limit :limit::int
