-- Store a bulk operation, unless it is already stored. :id uuid, :action, :request text (JSON), :per_second float8,
-- :namespaces text[] or null, :matches int, :exact boolean, :reason, :created_by text, :via text or null
insert into bulk_operation (id, action, request, per_second, namespaces, matches, exact, last_task, reason, created_by, via)
values (:id::uuid, :action, :request::json, :per_second, :namespaces, :matches, :exact, :id::uuid, :reason, :created_by, :via)
on conflict (id) do nothing
