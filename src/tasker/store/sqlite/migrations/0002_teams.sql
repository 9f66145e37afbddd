-- Teams: the tables of the PostgreSQL store, where they are explained.

alter table template add column status text not null default 'approved'
    check (status in ('approved', 'pending_review', 'rejected', 'retired'));
alter table template add column decided_by text;
alter table template add column decided_at real;
alter table template add column reason text not null default '';
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
    requires_approval integer not null,
    approvers         text not null,
    updated_by        text not null,
    updated_at        real not null
) without rowid;

create table team_event (
    id        integer primary key,
    at        real not null,
    namespace text,
    subject   text not null,
    actor     text not null,
    action    text not null,
    reason    text not null,
    before    text,
    after     text
);
create index team_event_namespace on team_event (namespace, id);

create table api_key (
    id           integer primary key,
    prefix       text not null unique,
    digest       text not null,
    name         text not null,
    scopes       text not null,
    namespaces   text not null,
    roles        text not null,
    created_by   text not null,
    created_at   real not null,
    expires_at   real,
    revoked_at   real,
    last_used_at real
);
