-- Pause something; no row if it is paused already. :kind, :namespace, :name, :actor, :reason text
insert into pause (kind, namespace, name, paused_at, paused_by, reason)
values (:kind, :namespace, :name, now(), :actor, :reason)
on conflict do nothing
returning *
