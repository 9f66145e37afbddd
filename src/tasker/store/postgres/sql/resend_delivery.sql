-- Make a delivery due again, whatever its status; its time limit starts over. :subscription int, :id bigint
update delivery set status = 'pending', next_at = now(), since = now(), settled_at = null
where subscription_id = :subscription and id = :id
returning id
