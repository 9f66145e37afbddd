-- Take a template out of use for new tasks. :id int
update template set replaced_at = now() where id = :id and replaced_at is null
