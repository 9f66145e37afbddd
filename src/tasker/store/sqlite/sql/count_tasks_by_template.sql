-- The numbers of tasks of each template that match a filter, at most :most together; lines as in list_tasks.
-- :templates text (JSON list) or null, :state int or null, :started int or null (of open tasks),
-- :correlation_id, :parent_id, :tag, :created_by, :idempotency_key, :failed_step,
-- :error_code (of a failed step), :compensation, :attribute_name, :attribute_value text,
-- :attributes text (JSON object, of further ones), :schedule_id int, :created_after, :created_before real,
-- :first_id, :last_id text (which bound those), all or null;
-- :most int
select p.namespace, p.name, count(*) as tasks from (
    select template_id from task
    where true
      {include task_filter}
    order by id desc
    limit :most
) counted
join template p on p.id = counted.template_id
group by p.namespace, p.name
