-- Steps that are due, due later, and running now, each counted up to :most. :most int, :now real
select (select count(*) from (select 1 from step where state = {ENQUEUED} and queue_id > 0 and run_at <= :now limit :most)) as due,
       (select count(*) from (select 1 from step where state = {ENQUEUED} and queue_id > 0 and run_at > :now limit :most)) as scheduled,
       (select count(*) from (select 1 from step where state = {IN_PROGRESS} limit :most)) as running,
       (select count(*) from (select 1 from step s where {include is_due_without_worker step=s} limit :most)) as without_worker
