-- Wake idle workers.
select wake()::text
