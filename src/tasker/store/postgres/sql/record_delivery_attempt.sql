-- Record an attempt to deliver an event; no row: another process took it over. :id bigint, :attempt int,
-- :status text, :delay float8 (seconds until the next attempt), :entry text (JSON)
update delivery d
set status = :status,
    next_at = now() + :delay::float8 * interval '1 s',
    settled_at = case when :status::text = 'pending' then null else now() end,
    log = (d.log::jsonb || jsonb_build_array(:entry::text::jsonb))::json
where id = :id and attempts = :attempt and d.status = 'pending'
returning subscription_id
