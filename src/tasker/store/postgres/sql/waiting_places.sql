-- Keys for which tasks wait. :limit int
select distinct namespace, key from task_place where waiting and not ended limit :limit::int
