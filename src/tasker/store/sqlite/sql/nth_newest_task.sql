-- The task that has exactly :offset newer tasks, among those with ids below :after. :after text or null, :offset int
select id from task
where true
  and (:after is null or id < :after)
order by id desc
limit 1
offset :offset
