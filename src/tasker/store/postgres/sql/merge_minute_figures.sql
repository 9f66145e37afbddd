-- Merge the older rows of each minute and template into one. :before int (minute)
with gone as (
    delete from figure where not merged and template_id > 0 and minute < :before::int
    returning minute, template_id, created, completed, failed, cancelled, steps, retries, seconds
)
insert into figure (minute, template_id, created, completed, failed, cancelled, steps, retries, seconds, merged)
select minute, template_id, sum(created), sum(completed), sum(failed), sum(cancelled), sum(steps), sum(retries), sum(seconds), true
from gone
group by minute, template_id
