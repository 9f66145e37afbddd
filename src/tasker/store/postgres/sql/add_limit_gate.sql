-- Add a gate, unless there is one for its key; it has as many tokens as it may have. :namespace text, :key text,
-- :concurrency int or null, :rate float8 or null, :burst int or null, :declared text, :template_id int, :task_id uuid or null
insert into gate (namespace, key, concurrency, rate, burst, tokens, declared, declared_by, task_id)
values (:namespace, :key, :concurrency::int, :rate::float8, :burst::int, coalesce(:burst::int, 0), :declared::text::json,
        :template_id, :task_id::uuid)
on conflict do nothing
returning id
