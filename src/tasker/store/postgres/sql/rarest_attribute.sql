-- The attribute that the fewest tasks have, counted up to 1,000. :attributes text (JSON object)
select w.key as name
from json_each_text(:attributes::json) w
order by (
    select count(*) from (
        select from task_attribute a
        where a.namespace in (select namespace from template) and a.name = w.key and a.value = w.value
        limit 1000
    ) counted
), w.key
limit 1
