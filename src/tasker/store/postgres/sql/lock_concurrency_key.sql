-- Let no other transaction count the open tasks of a key. :namespace, :key text
select pg_advisory_xact_lock(hashtextextended('place:' || :namespace::text || ':' || :key::text, 0))
