-- Note that a gate is used. :id int
update gate set used_at = now() where id = :id
