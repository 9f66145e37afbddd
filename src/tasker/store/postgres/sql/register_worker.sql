-- Insert a worker and open its lease. :name text, :lease float (seconds), :slots int, :handlers text[],
-- :labels text (JSON object), :build, :sdk, :principal, :host, :machine text, :pid, :pid_started int,
-- :registration text
insert into worker (name, lease_until, slots, handlers, labels, build, sdk, principal, host,
                    machine, pid, pid_started, registration)
values (:name, now() + :lease * interval '1 s', :slots, :handlers, :labels::text::json, :build, :sdk,
        :principal, :host, :machine, :pid, :pid_started, :registration)
returning id
