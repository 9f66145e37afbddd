-- Ticks of a schedule without a task, the latest first. :id int, :limit int
select * from schedule_tick where schedule_id = :id order by first_tick desc limit :limit::int
