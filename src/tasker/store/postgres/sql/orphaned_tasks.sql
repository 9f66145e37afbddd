-- Open attached tasks whose parent was cancelled, failed or was resolved. :limit int
select c.id::text as id, c.parent_id::text as parent_id from task c
join task p on p.id = c.parent_id
where c.attached and c.state = {OPEN} and p.state in ({CANCELLED}, {ERROR}, {RESOLVED_MANUALLY})
limit :limit::int
