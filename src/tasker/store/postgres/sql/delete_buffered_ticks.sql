-- Delete ticks that no longer wait. :id int, of the schedule, :ticks timestamptz[]
delete from schedule_tick where schedule_id = :id and outcome = 'buffered' and first_tick = any (:ticks::timestamptz[])
