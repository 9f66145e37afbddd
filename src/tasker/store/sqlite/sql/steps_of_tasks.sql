-- The steps of tasks. :tasks text (JSON list)
select no from step
where task_id in (select value from json_each(:tasks))
order by task_id, no
