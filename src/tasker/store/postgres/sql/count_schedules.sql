-- Count the schedules of a namespace. :namespace text
select count(*)::int as schedules from schedule where namespace = :namespace
