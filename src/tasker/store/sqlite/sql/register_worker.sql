-- Announce a worker. :name text, :lease real (seconds), :slots int, :handlers text (JSON list), :now real
insert into worker (name, started_at, lease_until, slots, handlers)
values (:name, :now, :now + :lease, :slots, :handlers)
returning id
