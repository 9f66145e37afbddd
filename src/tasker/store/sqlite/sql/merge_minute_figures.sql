-- Merge the older rows of each minute and template into one. :before int (minute)
insert into figure (minute, template_id, created, completed, failed, cancelled, steps, retries, seconds, merged)
select minute, template_id, sum(created), sum(completed), sum(failed), sum(cancelled), sum(steps), sum(retries), sum(seconds), 1
from figure
where merged = 0 and template_id > 0 and minute < :before
group by minute, template_id
