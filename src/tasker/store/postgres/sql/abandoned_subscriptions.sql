-- Subscriptions of code that no worker has had since an instant. :before timestamptz
select id from subscription where url is null and served_at < :before
