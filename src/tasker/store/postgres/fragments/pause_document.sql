-- A row of `pause` as JSON.
json_build_object('kind', pause.kind, 'namespace', pause.namespace, 'name', pause.name,
    'paused_at', extract(epoch from pause.paused_at)::float8, 'paused_by', pause.paused_by, 'reason', pause.reason)
