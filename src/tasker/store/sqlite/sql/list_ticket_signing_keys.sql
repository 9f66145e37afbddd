-- Secrets that sign tickets, the newest first.
select secret from signing_key order by id desc limit 2
