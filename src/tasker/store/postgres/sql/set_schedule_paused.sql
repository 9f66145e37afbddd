-- Pause or resume a schedule. :id int, :paused boolean, :next_at timestamptz
update schedule
set paused = :paused, next_at = :next_at, look_at = :next_at, revision = revision + 1, updated_at = now()
where id = :id
