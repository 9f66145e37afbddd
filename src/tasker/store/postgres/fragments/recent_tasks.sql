-- The newest tasks of a window. :templates int[] or null (all), :since uuid, :most int
recent as materialized (
    select id, template_id, state, ended_at, extract(epoch from ended_at - created_at)::float8 as seconds
    from task
    where id >= :since::uuid
      and (:templates::int[] is null or template_id = any (:templates))
    order by id desc
    limit :most::int
)
