-- Open tasks past their deadline that are not being compensated. :now real, :limit int
select id from task indexed by task_overdue where state = {OPEN} and ending is null and deadline <= :now order by deadline limit :limit
