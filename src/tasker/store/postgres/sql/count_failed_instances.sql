-- Count the instances with a step that failed, among steps that were made at run time.
-- :task_id uuid, :first_no, :last_no, :size int
select count(distinct (no - :first_no) / :size) as instances
from step
where task_id = :task_id::uuid and no between :first_no and :last_no and state = {ERROR}
