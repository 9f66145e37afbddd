-- Store an event. :task_id text, :no, :attempt, :template_id, :outcome int, :now real, :duration real or null,
-- :name, :step, :correlation_id, :payload text
insert into outbox (task_id, no, attempt, template_id, outcome, at, duration, name, step, correlation_id, payload)
values (:task_id, :no, :attempt, :template_id, :outcome, :now, :duration, :name, :step, :correlation_id, :payload)
