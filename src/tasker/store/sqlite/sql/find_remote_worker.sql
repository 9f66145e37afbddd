-- How a worker registered. :worker int, :now real
select id, slots, principal, registration, quiet, lease_until > :now as alive
from worker where id = :worker and registration <> ''
