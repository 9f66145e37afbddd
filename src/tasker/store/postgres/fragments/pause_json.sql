-- A row of `pause` as JSON; its time in microseconds since 1970.
json_build_object('kind', pause.kind, 'namespace', pause.namespace, 'name', pause.name,
    'paused_at', (extract(epoch from pause.paused_at) * 1000000)::bigint, 'paused_by', pause.paused_by, 'reason', pause.reason)
