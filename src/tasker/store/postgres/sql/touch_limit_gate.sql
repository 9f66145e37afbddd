-- Record the use of a gate. :id int
update gate set used_at = now() where id = :id
