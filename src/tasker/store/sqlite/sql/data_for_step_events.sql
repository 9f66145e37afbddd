-- The data from which the events of a step are built; no row if its template declares no events. :task_id text, :no int
select k.template_id, k.correlation_id, k.context, t.document, coalesce(s.template_node, s.no) as node
from step s
join task k on k.id = s.task_id
join template t on t.id = k.template_id
where s.task_id = :task_id and s.no = :no and t.document like '%"events"%'
