-- Take the steps of tasks out of their queues. :tasks text (JSON list)
update step set queue_id = -queue_id
where task_id in (select value from json_each(:tasks)) and queue_id > 0
