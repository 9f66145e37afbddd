-- A worker that was announced with a registration. :worker bigint
select id, slots, principal, registration, quiet, lease_until > now() as alive
from worker where id = :worker and registration <> ''
