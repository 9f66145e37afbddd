-- Record that ticks got no task, or wait for one. :id int, of the schedule, :first_tick, :last_tick timestamptz,
-- :outcome, :detail text
insert into schedule_tick (schedule_id, first_tick, last_tick, outcome, detail)
values (:id, :first_tick, :last_tick, :outcome, :detail)
on conflict (schedule_id, first_tick) do update
set last_tick = excluded.last_tick, outcome = excluded.outcome, detail = excluded.detail
