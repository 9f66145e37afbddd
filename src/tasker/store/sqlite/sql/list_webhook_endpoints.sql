-- Webhooks to deliver to.
select id, name, url, secret, include from subscription where url is not null and not paused
