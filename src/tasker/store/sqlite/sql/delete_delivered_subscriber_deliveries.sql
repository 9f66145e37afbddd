-- Delete deliveries to workers once they are delivered. :ids text (JSON list)
delete from delivery
where id in (select value from json_each(:ids)) and status = 'delivered'
  and subscription_id in (select id from subscription where url is null)
