-- Teams: who owns a namespace, which template versions take tasks, who may call, who did what.
--
-- A version may have several rows that were not replaced: one that is in force (approved or
-- retired), one that waits to take its place, and any number that were rejected. The two
-- unique indexes say so; processes that register at once are told apart by them.

alter table template
    add column status text not null default 'approved'
        check (status in ('approved', 'pending_review', 'rejected', 'retired')),
    add column decided_by text,
    add column decided_at timestamptz,
    add column reason text not null default '';
drop index template_current;
create index template_name on template (namespace, name, version);
create unique index template_in_force on template (namespace, name, version)
    where replaced_at is null and status in ('approved', 'retired');
create unique index template_waiting on template (namespace, name, version)
    where replaced_at is null and status = 'pending_review';

create table namespace_policy (
    namespace         text primary key,
    owner_team        text not null,
    contact_email     text not null,
    description       text not null,
    requires_approval boolean not null,
    approvers         text[] not null,
    updated_by        text not null,
    updated_at        timestamptz not null
);

-- before, after: JSON. namespace is null where the subject belongs to no single one.
create table team_event (
    id        bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    namespace text,
    subject   text not null,
    actor     text not null,
    action    text not null,
    reason    text not null,
    before    json,
    after     json
);
create index team_event_namespace on team_event (namespace, id);

-- digest: SHA-256 of the secret, which is kept nowhere.
create table api_key (
    id           int generated always as identity primary key,
    prefix       text not null unique,
    digest       text not null,
    name         text not null,
    scopes       text[] not null,
    namespaces   text[] not null,
    roles        text[] not null,
    created_by   text not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
