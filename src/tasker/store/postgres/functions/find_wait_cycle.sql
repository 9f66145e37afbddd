-- Return the task that waits for p_task, directly or through others, if p_waits_for leads to one.
-- Each transaction that makes a task wait holds that task's lock, and shares the locks of the tasks
-- that it visits. So if concurrent waits would form a cycle, one of them sees the others.
create or replace function find_wait_cycle(p_task uuid, p_waits_for uuid) returns setof uuid language plpgsql
as $$
declare
    v_walked uuid[] := '{}';
    v_next uuid[] := array[p_waits_for];
    v_last uuid[];
begin
    perform pg_advisory_xact_lock(hashtext('tasker.wait'), hashtext(p_task::text));
    loop
        perform pg_advisory_xact_lock_shared(hashtext('tasker.wait'), hashtext(t::text))
        from unnest(v_next) t;
        v_walked := v_walked || v_next;
        v_last := v_next;
        select array_agg(distinct s.waits_for) into v_next
        from step s
        where s.task_id = any (v_last) and s.waits_for is not null and s.waits_for <> all (v_walked);
        exit when v_next is null;
        if p_task = any (v_next) then
            return query select s.task_id from step s
                where s.task_id = any (v_last) and s.waits_for = p_task limit 1;
            return;
        end if;
    end loop;
end $$;
