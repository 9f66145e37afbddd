-- Entries of the team audit log, newest first.
-- :namespace text or null, :visible text[] or null, of namespaces; :after bigint or null, :limit int
select *
from team_event
where (:namespace::text is null or namespace = :namespace)
  and (:visible::text[] is null or namespace = any (:visible))
  and (:after::bigint is null or id < :after)
order by id desc
limit :limit::int
