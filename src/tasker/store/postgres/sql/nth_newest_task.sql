-- The task that has exactly :offset newer tasks, among those with ids below :after. :after uuid or null, :offset int
select id::text as id from task
where true
  and (:after::uuid is null or id < :after)
order by task.id desc   -- not the text above
offset :offset::int
limit 1
