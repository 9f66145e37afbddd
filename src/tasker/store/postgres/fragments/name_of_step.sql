-- The name of {step}, with the numbers of the instances that it is part of.
case
    when {step}.template_node is null or {step}.name not like '%[]%' then {step}.name
    when {step}.name not like '%[]%[]%' then replace({step}.name, '[]', '[' || {step}.instance || ']')
    else (
        with recursive filled as (
            select {step}.name as label, ({include instance_path})::json as instances, 0 as depth
            union all
            select overlay(label placing '[' || (instances ->> depth) || ']' from position('[]' in label) for 2), instances, depth + 1
            from filled where depth < json_array_length(instances) and position('[]' in label) > 0
        )
        select label from filled order by depth desc limit 1
    )
end
