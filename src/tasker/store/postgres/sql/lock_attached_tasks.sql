-- Open tasks that are cancelled with their parent, locked. :parent_id uuid, :limit int
select id::text as id from task
where parent_id = :parent_id::uuid and attached and state = {OPEN}
order by id
limit :limit::int
for update
