-- Lock open tasks past their deadline. :limit int
select id::text as id from task
where state = {OPEN} and deadline <= now()
order by deadline
limit :limit::int
for update skip locked
