-- Extend the record of the directly preceding ticks; no row if their record has another outcome or detail. :id int, of the
-- schedule, :previous, :last_tick timestamptz,
-- :outcome, :detail text
update schedule_tick set last_tick = :last_tick
where schedule_id = :id and outcome = :outcome and detail = :detail and last_tick = :previous
returning first_tick
