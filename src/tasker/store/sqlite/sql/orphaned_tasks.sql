-- Open attached tasks whose parent was cancelled, failed or was resolved. :limit int
select c.id, c.parent_id from task c indexed by task_attached
join task p on p.id = c.parent_id
where c.attached = 1 and c.state = {OPEN} and p.state in ({CANCELLED}, {ERROR}, {RESOLVED_MANUALLY})
limit :limit
