-- Record that the tasks created in a minute are counted; no row if they were already. :minute int
insert into figure (minute, template_id, merged) values (:minute, 0, 1)
on conflict do nothing
returning minute
