-- Set a limit for a key or a pattern of keys. :namespace text, :pattern text, :concurrency int or null, :rate text
-- or null, :burst int or null, :actor text, :now real
insert into limit_setting (namespace, pattern, concurrency, rate, burst, updated_by, updated_at)
values (:namespace, :pattern, :concurrency, :rate, :burst, :actor, :now)
on conflict (namespace, pattern) do update
set concurrency = excluded.concurrency, rate = excluded.rate, burst = excluded.burst,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at
