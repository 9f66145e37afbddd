-- Record an attempt to deliver an event; no row: another process took it over. :id, :attempt int,
-- :status text, :delay real (seconds until the next attempt), :entry text (JSON), :now real
update delivery
set status = :status,
    next_at = :now + :delay,
    settled_at = case when :status = 'pending' then null else :now end,
    log = json_insert(log, '$[#]', json(:entry))
where id = :id and attempts = :attempt and status = 'pending'
returning subscription_id
