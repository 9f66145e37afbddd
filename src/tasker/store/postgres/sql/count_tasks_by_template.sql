-- The numbers of tasks of each template that match a filter, at most :most together; lines as in list_tasks.
-- :templates int[] or null, :state int or null, :started boolean or null (of open tasks),
-- :correlation_id text, :parent_id uuid, :schedule_id int, :tag text, :created_by text,
-- :idempotency_key text, :failed_step text, :error_code text (of a failed step), :compensation text,
-- :attribute_name, :attribute_value text, :attributes text (JSON object, of further ones),
-- :created_after timestamptz, :created_before timestamptz, :first_id, :last_id uuid (which bound those), all or null;
-- :most int
select p.namespace, p.name, count(*) as tasks from (
    select template_id from task
    where true
      {include task_filter}
    order by id desc
    limit :most::int
) counted
join template p on p.id = counted.template_id
group by p.namespace, p.name
