-- Delete a schedule. :id int
delete from schedule where id = :id
