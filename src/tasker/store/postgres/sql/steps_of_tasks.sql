-- The steps of tasks. :tasks uuid[]
select no from step
where task_id = any (:tasks::uuid[])
order by task_id, no
