-- Delete the deliveries of a subscription. :id int
delete from delivery where subscription_id = :id
