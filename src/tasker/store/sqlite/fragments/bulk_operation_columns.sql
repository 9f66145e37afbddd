-- The columns of an operation on many tasks.
id, action, status, request, per_second, namespaces, matches, exact, changed, rejected, rejections,
       last_task, reason, created_by, via, created_at, updated_at, ended_at, stopped_by
