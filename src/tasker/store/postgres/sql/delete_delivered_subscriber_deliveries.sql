-- Delete deliveries to workers once they are delivered. :ids bigint[]
delete from delivery d using subscription s
where d.id = any (:ids) and s.id = d.subscription_id and s.url is null and d.status = 'delivered'
