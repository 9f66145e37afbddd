-- Enqueue the steps that waited for tasks which have ended.
create or replace function wake_parents(p_ended uuid[]) returns void language plpgsql
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
    {include enqueue steps=woken};
    if found then
        perform wake();
    end if;
end $$;
