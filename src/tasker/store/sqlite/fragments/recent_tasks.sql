-- The newest tasks of a window. :templates text (JSON list) or null (all), :since text, :most int
recent as materialized (
    select id, template_id, state, ended_at, ended_at - created_at as seconds
    from task
    where id >= :since
      and (:templates is null or template_id in (select value from json_each(:templates)))
    order by id desc
    limit :most
)
