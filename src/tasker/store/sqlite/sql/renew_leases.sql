-- Extend the leases that are still valid; one row for each. :workers text (JSON list), :lease real (seconds), :now real
update worker set lease_until = :now + :lease
where id in (select value from json_each(:workers)) and lease_until > :now
returning id, quiet
