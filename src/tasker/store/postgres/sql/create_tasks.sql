-- See functions/create_tasks.sql.
select kind, task_id::text, no, found::text, now()
from create_tasks(:ids::uuid[], :templates, :contexts, :correlations, :parents::uuid[], :keys,
                  :digests, :actors, :reasons, :tags, :traces, :run_ats, :deadlines, :priorities,
                  :titles, :attributes, :unique_whiles, :if_exists,
                  :worker, :queues, :claim_up_to, :lock_timeout)
