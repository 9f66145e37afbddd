-- Delete the oldest records of ticks without a task. :id int, of the schedule, :most int, that are kept
delete from schedule_tick
where schedule_id = :id and outcome <> 'buffered' and first_tick <= (
    select first_tick from schedule_tick where schedule_id = :id and outcome <> 'buffered'
    order by first_tick desc offset :most::int limit 1
)
