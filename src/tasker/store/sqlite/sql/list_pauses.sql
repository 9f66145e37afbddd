-- Pauses, the newest first. :namespace text or null (of all)
select * from pause
where true
  and (:namespace is null or namespace = :namespace)
order by paused_at desc, kind, namespace, name
