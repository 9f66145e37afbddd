-- Give a template version another status. :id int, :status, :actor, :reason text
update template
set status = :status, decided_by = :actor, decided_at = now(), reason = :reason
where id = :id
returning *
