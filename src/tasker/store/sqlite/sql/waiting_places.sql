-- Keys for which tasks wait. :limit int
select distinct namespace, key from task_place where waiting = 1 and ended = 0 limit :limit
