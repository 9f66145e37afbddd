-- How many webhooks a namespace has. :namespace text
select count(*) as webhooks from subscription where namespace = :namespace and url is not null
