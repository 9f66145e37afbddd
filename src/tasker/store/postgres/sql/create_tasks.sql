-- See functions/create_tasks.sql.
select kind, task_id::text, no, found::text, now()
from create_tasks(:id, :template, :context, :correlation, :parent, :key, :digest, :unique_while, :if_exists,
                  :actor, :reason, :tags, :trace, :run_at, :deadline, :priority, :title, :attributes, :gates, :attached,
                  :worker, :claim_up_to, :lock_timeout)
