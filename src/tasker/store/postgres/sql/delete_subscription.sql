-- Delete a subscription. :id int
delete from subscription where id = :id
