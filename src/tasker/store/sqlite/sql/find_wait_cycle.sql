-- The task that waits for :task_id, directly or through others, if :waits_for leads to one.
-- :task_id text, :waits_for text
with recursive walked (task_id) as (
    values (:waits_for)
    union
    select s.waits_for from step s join walked on s.task_id = walked.task_id
    where s.state = {WAITING}
)
select s.task_id as id from step s join walked on s.task_id = walked.task_id
where s.state = {WAITING} and s.waits_for = :task_id
limit 1
