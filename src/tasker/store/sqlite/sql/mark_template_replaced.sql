-- Stop using a template for new tasks. :id int, :now real
update template set replaced_at = :now where id = :id and replaced_at is null
