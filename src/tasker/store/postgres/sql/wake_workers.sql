-- Wake idle workers.
select wake_workers()::text
