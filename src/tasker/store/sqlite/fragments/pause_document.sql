-- A row of `pause` as JSON.
json_object('kind', pause.kind, 'namespace', pause.namespace, 'name', pause.name,
    'paused_at', pause.paused_at, 'paused_by', pause.paused_by, 'reason', pause.reason)
