-- Enqueue the steps that waited for tasks which have ended. :ended text (JSON list), :now real
update step
set state = 1, run_at = :now, enqueued_at = :now, waits_for = null
where state = 3 and waits_for in (select value from json_each(:ended))
