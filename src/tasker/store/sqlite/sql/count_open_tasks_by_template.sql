-- Open tasks by template, counted up to :most. :most int
select template_id, count(*) as tasks
from (select template_id from task where state = {OPEN} limit :most) t
group by template_id
order by template_id
