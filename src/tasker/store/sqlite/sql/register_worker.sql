-- Insert a worker and open its lease. :name text, :lease real (seconds), :slots int, :handlers text (JSON list),
-- :labels text (JSON object), :build, :sdk, :principal, :host, :machine text, :pid, :pid_started int,
-- :registration text, :now real
insert into worker (name, started_at, lease_until, slots, handlers, labels, build, sdk, principal, host,
                    machine, pid, pid_started, registration)
values (:name, :now, :now + :lease, :slots, :handlers, :labels, :build, :sdk, :principal, :host, :machine, :pid, :pid_started, :registration)
returning id
