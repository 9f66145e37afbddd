-- Take the steps of tasks out of their queues. :tasks uuid[]
update step set queue_id = -queue_id
where task_id = any (:tasks::uuid[]) and queue_id > 0
