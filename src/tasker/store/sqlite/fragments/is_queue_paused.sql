-- Whether the queue {queue} or its namespace is paused.
exists (
    select 1 from pause where pause.namespace = {queue}.namespace
    and (pause.kind = 'queue' and pause.name = {queue}.handler or pause.kind = 'namespace')
)
