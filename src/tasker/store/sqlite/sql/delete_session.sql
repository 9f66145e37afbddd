-- Delete a login. :digest text
delete from session where digest = :digest
