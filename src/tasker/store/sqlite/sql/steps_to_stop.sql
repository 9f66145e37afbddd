-- The next steps of a task that have not ended; with :running, those in progress are among them.
-- :task_id text, :last_no, :until, :limit int, :running int
select no from step
where task_id = :task_id and no > :last_no and no <= :until
  and (+state in ({PENDING}, {ENQUEUED}, {WAITING}) or :running and +state = {IN_PROGRESS})
order by no
limit :limit
