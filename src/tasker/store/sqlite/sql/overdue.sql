-- Open tasks past their deadline. :now real, :limit int
select id from task indexed by task_overdue where state = {OPEN} and deadline <= :now order by deadline limit :limit
