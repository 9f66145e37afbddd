-- Store a decision. :id uuid, :decided_by, :decision text
update approval
set decided_at = now(), decided_by = :decided_by, decision = :decision::text::json
where id = :id::uuid and decided_at is null
returning decided_at
