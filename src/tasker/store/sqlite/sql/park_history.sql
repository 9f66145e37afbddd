-- Keep the attempt that park.sql ended. :task_id text, :no int, :now real
insert into attempt (task_id, no, attempt, outcome, worker, claimed_at, settled_at)
select task_id, no, attempt, 7, worker, claimed_at, :now from step where task_id = :task_id and no = :no
