-- Store what a template declares for a gate, and when it was last used. :id int, :declared text, :template_id int, :now real
update gate set declared = :declared, declared_by = :template_id, used_at = :now where id = :id
