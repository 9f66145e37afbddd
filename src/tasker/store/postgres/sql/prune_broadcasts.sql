-- Delete broadcasts that were sent long ago. :older_than float8 (seconds), :limit int
delete from broadcast where (namespace, name, key, number) in (
    select namespace, name, key, number from broadcast
    where sent_at < now() - :older_than::float8 * interval '1 s'
    order by sent_at
    limit :limit::int
)
returning number
