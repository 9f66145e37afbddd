-- Lock open tasks past their deadline that are not being compensated. :limit int
select id::text as id from task
where state = {OPEN} and ending is null and deadline <= now()
order by deadline
limit :limit::int
for update skip locked
