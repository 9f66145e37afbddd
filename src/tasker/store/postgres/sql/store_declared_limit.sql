-- Store what a template declares for a gate, and when it was last used. :id int, :declared text, :template_id int
update gate set declared = :declared::text::json, declared_by = :template_id, used_at = now() where id = :id
