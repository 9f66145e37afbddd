-- Enqueue the steps that waited for tasks which have ended.
create or replace function wake_steps_waiting_for_tasks(p_ended uuid[]) returns void language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_indexscan = off set enable_indexonlyscan = off
as $$
begin
    with woken as (
        update step
        set state = {ENQUEUED}, run_at = now(), enqueued_at = now(), waits_for = null
        where waits_for = any (p_ended)
        returning *
    )
    {include insert_due_rows steps=woken};
    if found then
        perform wake_workers();
    end if;
end $$;
