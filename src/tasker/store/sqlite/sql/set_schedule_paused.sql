-- Pause or resume a schedule. :id int, :paused int, :next_at, :now real
update schedule
set paused = :paused, next_at = :next_at, look_at = :next_at, revision = revision + 1, updated_at = :now
where id = :id
