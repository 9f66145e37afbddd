-- Steps that are due, due later, and running now, each counted up to :most. :most int
select (select count(*) from (select from step where state = 1 and run_at <= now() limit :most::int) s),
       (select count(*) from (select from step where state = 1 and run_at > now() limit :most::int) s),
       (select count(*) from (select from step where state = 2 limit :most::int) s)
