-- Lock a key, so that only this transaction counts its open tasks. :namespace, :key text
select pg_advisory_xact_lock(hashtextextended('place:' || :namespace::text || ':' || :key::text, 0))
