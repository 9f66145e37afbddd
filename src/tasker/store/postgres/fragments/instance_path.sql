-- Which instances the step {step} is part of, from the outermost, as a JSON list; null for one of the template.
case when {step}.template_node is not null then (
    with recursive around as (
        select {step}.spawned_by, {step}.instance, 0 as depth
        union all
        select p.spawned_by, p.instance, r.depth + 1
        from around r
        cross join lateral (
            select p.spawned_by, p.instance from step p
            where p.task_id = {step}.task_id and p.no = r.spawned_by and p.template_node is not null
            offset 0   -- else a planner without figures reads all steps of the task
        ) p
    )
    select json_agg(around.instance order by around.depth desc)::text from around
) end
