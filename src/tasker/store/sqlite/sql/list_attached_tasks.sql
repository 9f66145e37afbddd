-- Open tasks that are cancelled with their parent. :parent_id text, :limit int
select id from task
where parent_id = :parent_id and attached = 1 and state = {OPEN}
order by id
limit :limit
