-- Tasks with an action that has steps left to change. :limit int
select distinct task_id::text as task_id from paged_action limit :limit::int
