-- Record the use of a gate. :id int, :now real
update gate set used_at = :now where id = :id
