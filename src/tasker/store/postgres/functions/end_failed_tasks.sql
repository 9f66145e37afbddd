-- Of tasks with a failed step, and of those that were cancelled, end those in which no further step can run,
-- after what they have done is undone.
-- `state::int`: else a plan made while few tasks are open reads all open tasks by `task_status`.
-- The tasks are locked first, and looked at in a later statement: of two settlements
-- that end the last two running steps, the second sees the first.
create or replace function end_failed_tasks(p_tasks uuid[]) returns table (id uuid, state smallint) language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_indexscan = off set enable_indexonlyscan = off
as $$
#variable_conflict use_column
declare
    v_ended uuid[];
    v_states smallint[];
begin
    perform from task
    where id = any (p_tasks) and has_failed_step and state::int = {OPEN}
    order by id
    for update;
    if exists (
        select from task t join template p on p.id = t.template_id
        where t.id = any (p_tasks) and p.compensation_node is not null
    ) then
        perform begin_compensation(p_tasks);
    end if;

    with ended as (
        update task
        set state = case when ending is null or {include is_compensation_incomplete task=task} then {ERROR} else ending end,
            ended_at = clock_timestamp(),                     -- after all its attempts
            error = coalesce(error, (
                select json_build_object(
                    'message', 'step ''' || (array_agg({include name_of_step step=step} order by step.settled_at, step.no))[1] || ''''
                        || case when count(*) > 1 then ' and ' || count(*) - 1 || ' more' else '' end || ' failed: '
                        || (array_agg({include error_message step=step} order by step.settled_at, step.no))[1],
                    'steps', json_agg({include name_of_step step=step} order by step.no)
                )
                from step
                where step.task_id = task.id and step.state = {ERROR} and {include step_fails_task task=task step=step}
                having count(*) > 0
            ))
        where id = any (p_tasks) and has_failed_step and state::int = {OPEN}
          and not exists (
              select from step where step.task_id = task.id and step.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING})
          )
          and not exists (select from paged_action g where g.task_id = task.id and g.kind <> 'pause')
        returning id, state
    )
    select array_agg(id), array_agg(state) into v_ended, v_states from ended;
    if v_ended is not null then
        perform wake_steps_waiting_for_tasks(v_ended);
    end if;
    return query select * from unnest(v_ended, v_states);
end $$;
