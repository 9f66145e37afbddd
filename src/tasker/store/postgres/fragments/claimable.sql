-- Whether an enqueued step of a served queue may be claimed now, by its {run_at}. Every
-- statement that claims asks this: claim, settle, create_tasks, create_single_task.
{run_at} <= now()
