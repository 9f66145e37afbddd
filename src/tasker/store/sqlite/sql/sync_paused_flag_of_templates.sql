-- Let new tasks of a template be paused exactly if it is. :namespace, :name text
update template
set paused = exists (
    select 1 from pause
    where pause.name = template.name and pause.kind = 'template' and pause.namespace = template.namespace
)
where namespace = :namespace and name = :name
