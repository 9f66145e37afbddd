-- Which instances the step {step} is part of, from the outermost, as a JSON list; null for one of the template.
case when {step}.template_node is not null then (
    with recursive around as (
        select {step}.spawned_by as spawned_by, {step}.instance as instance, 0 as depth
        union all
        select p.spawned_by, p.instance, r.depth + 1
        from around r
        join step p on p.task_id = {step}.task_id and p.no = r.spawned_by
        where p.template_node is not null
    )
    select json_group_array(instance) from (select instance from around order by depth desc)
) end
