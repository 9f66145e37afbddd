-- Lock a schedule that nobody looked at or changed since it was read; no row if another transaction has
-- it. :id int, :revision int, :look_at timestamptz
select id from schedule
where id = :id and revision = :revision and look_at = :look_at and not paused
for update skip locked
