-- Lock a schedule that was neither handled nor changed since it was read; no row if another transaction has
-- locked it. :id int, :revision int, :look_at timestamptz
select id from schedule
where id = :id and revision = :revision and look_at = :look_at and not paused
for update skip locked
