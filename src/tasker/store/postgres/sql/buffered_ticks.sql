-- Ticks that wait for the end of a task. :ids int[], of schedules
select schedule_id, first_tick from schedule_tick
where schedule_id = any (:ids::int[]) and outcome = 'buffered'
order by schedule_id, first_tick
