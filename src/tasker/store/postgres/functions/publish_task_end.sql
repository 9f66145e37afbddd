-- Store the event for the end of a task whose template declares one, in the transaction that ends
-- the task, after the events of the outcomes that end it.
create or replace function publish_task_end() returns trigger language plpgsql as $$
begin
    insert into outbox (task_id, no, attempt, template_id, outcome, duration, name, step, correlation_id, payload)
    values (new.id, 0, 1 + (select count(*) from outbox o where o.task_id = new.id and o.no = 0), new.template_id,
            case new.state when {COMPLETE} then {OUTCOME.COMPLETE} when {CANCELLED} then {OUTCOME.CANCELLED}
                           when {RESOLVED_MANUALLY} then {OUTCOME.RESOLVED_MANUALLY} else {OUTCOME.ERROR} end,
            extract(epoch from new.ended_at - new.created_at),
            case new.state when {COMPLETE} then 'tasker.task.completed' when {CANCELLED} then 'tasker.task.cancelled'
                           when {RESOLVED_MANUALLY} then 'tasker.task.resolved' else 'tasker.task.failed' end,
            '', new.correlation_id, json_build_object('error', new.error));
    return null;
end $$;
drop trigger if exists task_ended on task;
create constraint trigger task_ended after update of state on task deferrable initially deferred for each row
when (new.state <> old.state and new.state <> {OPEN} and new.end_events >> new.state & 1 = 1)
execute function publish_task_end();
