-- Give a template version another status. :id int, :status, :actor, :reason text, :now real
update template
set status = :status, decided_by = :actor, decided_at = :now, reason = :reason
where id = :id
returning *
