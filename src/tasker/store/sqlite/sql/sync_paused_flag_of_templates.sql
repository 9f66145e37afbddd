-- Set whether new tasks of a template are paused: if the template is. :namespace, :name text
update template
set paused = exists (
    select 1 from pause
    where pause.name = template.name and pause.kind = 'template' and pause.namespace = template.namespace
)
where namespace = :namespace and name = :name
