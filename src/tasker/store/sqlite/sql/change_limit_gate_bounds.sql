-- Change the bounds of a gate; unspent tokens stay.
-- :id int, :concurrency int or null, :rate real or null, :burst int or null, :now real
update gate
set concurrency = :concurrency,
    rate = :rate,
    burst = :burst,
    tokens = coalesce(min(:burst, coalesce({include gate_tokens gate=gate}, :burst)), 0),
    refilled_at = :now
where id = :id
