-- Enqueue the steps that waited for tasks which have ended. :ended text (JSON list), :now real
update step
set state = {ENQUEUED}, run_at = :now, enqueued_at = :now, waits_for = null
where state = {WAITING} and waits_for in (select value from json_each(:ended))
