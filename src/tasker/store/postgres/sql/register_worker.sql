-- Announce a worker. :name text, :lease float (seconds), :slots int, :handlers text[]
insert into worker (name, lease_until, slots, handlers)
values (:name, now() + :lease * interval '1 s', :slots, :handlers)
returning id
