-- Note that a gate is used. :id int, :now real
update gate set used_at = :now where id = :id
