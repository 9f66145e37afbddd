-- See functions/create_single_task.sql.
select kind, task_id::text, no, found::text, now()
from create_single_task(:id, :template, :context, :correlation, :parent, :key, :digest, :unique_while, :actor,
                :reason, :tags, :trace, :run_at, :deadline, :priority, :title, :attributes,
                :worker, :claim_up_to, :lock_timeout)
