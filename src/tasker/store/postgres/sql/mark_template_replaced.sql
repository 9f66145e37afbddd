-- Mark a template as replaced, so that it accepts no new tasks. :id int
update template set replaced_at = now() where id = :id and replaced_at is null
