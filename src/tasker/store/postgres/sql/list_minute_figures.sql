-- Figures by point and template. :minutes int (of a point), :since int (minute),
-- :templates int[] or null
with summed as ( -- before the join, or it would group hundreds of thousands of names
    select minute / :minutes::int as point, template_id, sum(created) as created, sum(completed) as completed,
           sum(failed) as failed, sum(cancelled) as cancelled, sum(steps) as steps,
           sum(retries) as retries, sum(seconds) as seconds
    from figure
    where minute >= :since::int
      and (:templates::int[] is null or template_id = any (:templates))
    group by 1, 2
)
select point, t.namespace, t.name, sum(created)::bigint as created, sum(completed)::bigint as completed,
       sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled, sum(steps)::bigint as steps,
       sum(retries)::bigint as retries, sum(seconds) as seconds
from summed join template t on t.id = summed.template_id
group by 1, 2, 3
