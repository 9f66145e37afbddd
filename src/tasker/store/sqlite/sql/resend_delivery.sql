-- Make a delivery due again, whatever its status; its time limit starts over. :subscription, :id int, :now real
update delivery set status = 'pending', next_at = :now, since = :now, settled_at = null
where subscription_id = :subscription and id = :id
returning id
