-- Store a bulk operation, unless it is already stored. :id, :action, :request text (JSON), :per_second real,
-- :namespaces text (JSON) or null, :matches, :exact integer, :reason, :created_by text, :via text or null, :now real
insert into bulk_operation (id, action, request, per_second, namespaces, matches, exact, last_task, due_at, reason, created_by, via, created_at, updated_at)
values (:id, :action, :request, :per_second, :namespaces, :matches, :exact, :id, :now, :reason, :created_by, :via, :now, :now)
on conflict (id) do nothing
