-- Announce a worker. :name text, :lease float (seconds), :slots int, :handlers text[],
-- :labels text (JSON object), :build, :sdk, :principal, :host text, :pid int
insert into worker (name, lease_until, slots, handlers, labels, build, sdk, principal, host, pid)
values (:name, now() + :lease * interval '1 s', :slots, :handlers, :labels::text::json, :build, :sdk,
        :principal, :host, :pid)
returning id
