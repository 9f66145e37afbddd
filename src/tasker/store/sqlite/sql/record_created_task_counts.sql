-- Count the tasks created in a minute, by template. :minute int; :first, :last text (ids from, before)
insert into figure (minute, template_id, created)
select :minute, template_id, count(*) from task
where id >= :first and id < :last
group by template_id
