-- Subscriptions of code that no worker has served since an instant. :before real
select id from subscription where url is null and served_at < :before
