-- Change a schedule. :id int, :version, :template, :spec text, :declared_by text or null, :next_at, :now real
update schedule
set template = :template, version = :version, spec = :spec, declared_by = :declared_by, next_at = :next_at,
    look_at = :next_at, revision = revision + 1, updated_at = :now
where id = :id
