-- Add a gate, unless there is one for its key; it has as many tokens as it may have. :namespace text, :key text,
-- :concurrency int or null, :rate real or null, :burst int or null, :declared text, :template_id int, :task_id text or null, :now real
insert into gate (namespace, key, concurrency, rate, burst, tokens, refilled_at, declared, declared_by, task_id, used_at)
values (:namespace, :key, :concurrency, :rate, :burst, coalesce(:burst, 0), :now, :declared, :template_id, :task_id, :now)
on conflict do nothing
returning id
