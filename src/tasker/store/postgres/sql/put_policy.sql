-- Insert or replace the policy of a namespace.
-- :namespace, :owner_team, :contact_email, :description, :actor text, :requires_approval boolean, :approvers, :http_hosts text[]
insert into namespace_policy (namespace, owner_team, contact_email, description, requires_approval, approvers, http_hosts, updated_by, updated_at)
values (:namespace, :owner_team, :contact_email, :description, :requires_approval, :approvers, :http_hosts, :actor, now())
on conflict (namespace) do update
set owner_team = excluded.owner_team, contact_email = excluded.contact_email,
    description = excluded.description, requires_approval = excluded.requires_approval,
    approvers = excluded.approvers, http_hosts = excluded.http_hosts,
    updated_by = excluded.updated_by, updated_at = excluded.updated_at
returning *
