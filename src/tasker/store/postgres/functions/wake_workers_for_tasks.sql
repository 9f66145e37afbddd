-- Wake waiting workers for the first steps of new tasks of `p_templates`. A server, which only runs
-- the engine's own steps, is not woken for other steps, because it would find nothing to claim
-- after each creation.
create or replace function wake_workers_for_tasks(p_templates int[]) returns void language plpgsql as $$
declare
    v_workers boolean;                       -- whether any of those that wait is no server; null: none waits
    v_servers boolean;                       -- whether any serves queues of the engine
begin
    select bool_or(w.handlers <> array['tasker.engine']),
           bool_or(exists (select from worker_queue q where q.worker = w.id))
    into v_workers, v_servers
    from worker w where w.idle and w.lease_until > now();
    if v_workers then
        perform pg_notify(current_schema() || '.work', '');
    elsif v_servers then
        perform pg_notify(current_schema() || '.work', '')
        where exists (
            select from (select distinct id from unnest(p_templates) as g (id)) as g
            join template_step s on s.template_id = g.id and s.scope = 0
            join queue q on q.id = abs(s.queue_id)
            where s.pending_parents = 0 and q.handler = 'tasker.engine'
        );
    end if;
end $$;
