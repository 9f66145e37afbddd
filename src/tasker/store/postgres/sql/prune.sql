-- Delete tasks that ended before an instant, oldest first, with all their rows.
-- :ended_before timestamptz, :limit int
with doomed as (
    select id from task
    where state <> {OPEN} and ended_at < :ended_before::timestamptz
    order by id
    limit :limit::int
    for update skip locked
), keys as (
    delete from task_key using doomed where task_id = doomed.id
), attributes as (
    delete from task_attribute using doomed where task_id = doomed.id
), audits as (
    delete from audit using doomed where task_id = doomed.id
), attempts as (
    delete from attempt using doomed where task_id = doomed.id
), steps as (
    delete from step using doomed where task_id = doomed.id
), tasks as (
    delete from task using doomed where task.id = doomed.id returning task.id
)
select count(*)::int as tasks from tasks
