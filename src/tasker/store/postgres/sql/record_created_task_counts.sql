-- Count the tasks created in a minute, by template. :minute int; :first, :last uuid (ids from, before)
insert into figure (minute, template_id, created)
select :minute::int, template_id, count(*) from task
where id >= :first::uuid and id < :last::uuid
group by template_id
