-- See functions/wake.sql.
select wake()
