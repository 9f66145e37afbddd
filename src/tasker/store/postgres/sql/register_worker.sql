-- Announce a worker. :name text, :lease float (seconds), :slots int, :handlers text[],
-- :labels text (JSON object), :build, :sdk, :principal, :host, :machine text, :pid, :pid_started int
insert into worker (name, lease_until, slots, handlers, labels, build, sdk, principal, host,
                    machine, pid, pid_started)
values (:name, now() + :lease * interval '1 s', :slots, :handlers, :labels::text::json, :build, :sdk,
        :principal, :host, :machine, :pid, :pid_started)
returning id
