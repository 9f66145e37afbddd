-- Ticks that wait for the end of a task. :ids text (JSON list), of schedules
select schedule_id, first_tick from schedule_tick
where schedule_id in (select value from json_each(:ids)) and outcome = 'buffered'
order by schedule_id, first_tick
