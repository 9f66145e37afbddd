-- Delete ticks that no longer wait. :id int, of the schedule, :ticks text (JSON list)
delete from schedule_tick
where schedule_id = :id and outcome = 'buffered' and first_tick in (select value from json_each(:ticks))
