-- Record the schedule and the ticks of new tasks. :id int, :tasks, :ticks text (JSON lists)
update task
set schedule_id = :id,
    scheduled_for = (select w.value from json_each(:tasks) g join json_each(:ticks) w on w.key = g.key where g.value = task.id)
where id in (select value from json_each(:tasks))
