-- Entries of the team audit log, newest first.
-- :namespace text or null, :visible text (JSON list) or null, of namespaces; :after int or null, :limit int
select *
from team_event
where (:namespace is null or namespace = :namespace)
  and (:visible is null or namespace in (select value from json_each(:visible)))
  and (:after is null or id < :after)
order by id desc
limit :limit
