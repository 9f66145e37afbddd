-- The oldest events that are not distributed. :limit int
select id from outbox where not distributed order by id limit :limit::int
