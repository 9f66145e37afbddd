-- Steps that are due, due later, and running now, each counted up to :most. :most int
select (select count(*) from (select from step where state = {ENQUEUED} and run_at <= now() limit :most::int) s) as due,
       (select count(*) from (select from step where state = {ENQUEUED} and run_at > now() limit :most::int) s) as scheduled,
       (select count(*) from (select from step where state = {IN_PROGRESS} limit :most::int) s) as running,
       (select count(*) from (
            select from queue q cross join generate_series(q.id, q.id + 4) as own (id)
            join step s on s.queue_id = own.id and {include no_worker step=s} limit :most::int) s) as without_worker
