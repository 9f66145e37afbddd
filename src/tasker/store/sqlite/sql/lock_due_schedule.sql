-- Find a schedule that was neither handled nor changed since it was read. :id int, :revision int, :look_at real
select id from schedule
where id = :id and revision = :revision and look_at = :look_at and paused = 0
