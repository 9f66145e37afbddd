-- The columns of an operation on many tasks.
id::text as id, action, status, request::text as request, per_second, namespaces, matches, exact, changed, rejected::text as rejected, rejections::text as rejections,
       last_task::text as last_task, reason, created_by, via, created_at, updated_at, ended_at, stopped_by
