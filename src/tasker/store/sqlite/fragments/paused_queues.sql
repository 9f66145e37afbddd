-- Queues that are paused, or whose namespace is; their ids are those of priority 0.
select queue.id from pause
join queue on queue.namespace = pause.namespace
     and (pause.kind = 'namespace' or pause.kind = 'queue' and pause.name = queue.handler)
where pause.kind in ('namespace', 'queue')
