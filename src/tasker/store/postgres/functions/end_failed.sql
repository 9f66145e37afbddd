-- Of tasks with a failed step, end those in which no further step can run.
-- The tasks are locked first, and looked at in a later statement: of two settlements
-- that end the last two running steps, the second sees the first.
create or replace function end_failed(p_tasks uuid[]) returns setof uuid language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_indexscan = off set enable_indexonlyscan = off
as $$
declare
    v_ended uuid[];
begin
    perform from task
    where id = any (p_tasks) and has_failed_step and state = {OPEN}
    order by id
    for update;

    with ended as (
        update task
        set state = {ERROR},
            ended_at = clock_timestamp(),                     -- after all its attempts
            error = (
                select json_build_object(
                    'message', 'step ''' || (array_agg(step.name order by step.settled_at, step.no))[1] || ''''
                        || case when count(*) > 1 then ' and ' || count(*) - 1 || ' more' else '' end || ' failed: '
                        || (array_agg({include reason step=step} order by step.settled_at, step.no))[1],
                    'steps', json_agg(step.name order by step.no)
                )
                from step where step.task_id = task.id and step.state = {ERROR} and {include unhandled step=step}
            )
        where id = any (p_tasks) and has_failed_step and state = {OPEN}
          and not exists (
              select from step where step.task_id = task.id and step.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING})
          )
        returning id
    )
    select array_agg(id) into v_ended from ended;
    if v_ended is not null then
        perform wake_parents(v_ended);
    end if;
    return query select unnest(v_ended);
end $$;
