-- Delete the ticks of a schedule. :id int
delete from schedule_tick where schedule_id = :id
