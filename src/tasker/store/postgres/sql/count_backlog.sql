-- Steps that are due, due later, and running now, each counted up to :most. :most int
select (select count(*) from (select from due where queue_id > 0 and run_at <= now() limit :most::int) d) as due,
       (select count(*) from (select from due where queue_id > 0 and run_at > now() limit :most::int) d) as scheduled,
       (select least(coalesce(sum(open), 0), :most::int) from claim_batch) as running,
       (select count(*) from (
            select from queue q cross join generate_series(q.id, q.id + 4) as own (id)
            join due d on d.queue_id = own.id and d.run_at <= now()
            where not {include has_live_worker queue=q.id}
            limit :most::int) s) as without_worker
