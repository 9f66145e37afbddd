-- Store a decision. :id text, :decided_by, :decision text, :now real
update approval
set decided_at = :now, decided_by = :decided_by, decision = :decision
where id = :id and decided_at is null
returning decided_at
