-- Change the bounds of a gate; unspent tokens stay. :id int, :concurrency int or null, :rate float8 or null, :burst int or null
update gate g
set concurrency = :concurrency::int,
    rate = :rate::float8,
    burst = :burst::int,
    tokens = least(:burst::int, coalesce({include gate_tokens gate=g}, :burst::int, 0)),
    refilled_at = clock_timestamp()
where g.id = :id
