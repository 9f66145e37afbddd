-- Note whether an endpoint answered. After failures it gets nothing for a while, up to five minutes.
-- :id int, :answered bool
update subscription
set failures = case when :answered then 0 else failures + 1 end,
    blocked_until = case when not :answered then now() + least(300, 2 ^ least(failures, 10)) * interval '1 s' end
where id = :id and url is not null and not (:answered and failures = 0)
