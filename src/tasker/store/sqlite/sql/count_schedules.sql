-- Count the schedules of a namespace. :namespace text
select count(*) as schedules from schedule where namespace = :namespace
