-- The oldest events that are not distributed. :limit int
select id from outbox where distributed = 0 order by id limit :limit
