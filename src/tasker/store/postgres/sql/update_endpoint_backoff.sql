-- Record whether the endpoint of a webhook answered. After each failure in a row, it gets no deliveries for a
-- longer time, up to five minutes.
-- :id int, :answered bool
update subscription
set failures = case when :answered then 0 else failures + 1 end,
    blocked_until = case when not :answered then now() + least(300, 2 ^ least(failures, 10)) * interval '1 s' end
where id = :id and url is not null and not (:answered and failures = 0)
