-- The rows of locked steps of the task :task_id, each looked up by its number in :nos.
unnest(:nos::int[]) as n (no)
cross join lateral (select s.*, s.ctid from step s where s.task_id = :task_id::uuid and s.no = n.no offset 0) s
