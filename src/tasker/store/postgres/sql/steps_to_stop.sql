-- The next steps of a task that have not ended; with :running, those in progress are among them.
-- :task_id uuid, :last_no, :until, :limit int, :running boolean
select no from step
where task_id = :task_id::uuid and no > :last_no::int and no <= :until::int
  and (state in ({PENDING}, {ENQUEUED}, {WAITING}) or :running::boolean and state = {IN_PROGRESS})
order by no
limit :limit::int
