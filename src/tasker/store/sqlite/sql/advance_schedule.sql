-- Store the next tick of a schedule, and its last tick and task. :id int, :next_at, :look_at real; :last_tick real,
-- :last_task text, null: as before
update schedule
set next_at = :next_at, look_at = :look_at, last_tick = coalesce(:last_tick, last_tick),
    last_task = coalesce(:last_task, last_task)
where id = :id
