-- Leave paused queues out of `p_queues`; what follows claims from those only.
if exists (select from pause where kind in ('namespace', 'queue')) then
        p_queues := array(
            select p.id from unnest(p_queues) as p (id)
            join queue q on q.id = p.id / 5 * 5
            where not {include paused_queue queue=q}
        );
    end if;
