-- The engine's tables: those of the PostgreSQL store, where the essay on them stands.
--
-- Instants are seconds since 1970 (real), lists are JSON text. `temp.settled` and
-- `temp.child`, made when a connection opens, hold a settlement while it is worked out.

create table template (
    id            integer primary key,
    namespace     text not null,
    name          text not null,
    version       text not null,
    digest        text not null,
    document      text not null,
    sinks         integer not null,
    registered_by text not null,
    registered_at real not null,
    replaced_at   real
);
create unique index template_current on template (namespace, name, version)
    where replaced_at is null;

create table queue (
    id        integer primary key,
    namespace text not null,
    handler   text not null,
    unique (namespace, handler)
);

create table template_step (
    template_id integer not null,
    no          integer not null,
    name        text not null,
    queue_id    integer not null,
    pending_parents       integer not null,
    children    text not null,
    primary key (template_id, no)
) without rowid;

create table worker (
    id          integer primary key autoincrement,
    name        text not null,
    started_at  real not null,
    lease_until real not null,
    idle      integer not null default 0,
    slots       integer not null,
    handlers    text not null
);

create table task (
    id              text primary key,
    template_id     integer not null,
    state           integer not null default 0,
    has_failed_step         integer not null default 0,
    open_sinks      integer not null,
    created_at      real not null,
    ended_at        real,
    deadline        real,
    correlation_id  text not null,
    parent_id       text,
    idempotency_key text,
    created_by      text not null,
    reason          text not null,
    tags            text not null,
    trace           text,
    context         text not null,
    error           text
) without rowid;
create index task_status on task (state, id);
create index task_template on task (template_id, id);
create index task_correlation on task (correlation_id);
create index task_parent on task (parent_id) where parent_id is not null;
create index task_has_failed_step on task (id) where has_failed_step = 1 and state = 0;
create index task_overdue on task (deadline) where state = 0 and deadline is not null;

create table task_key (
    namespace text not null,
    key       text not null,
    task_id   text not null,
    digest    text not null,
    primary key (namespace, key)
) without rowid;
create index task_key_task on task_key (task_id);

create table step (
    task_id     text not null,
    no          integer not null,
    state       integer not null,
    queue_id    integer not null,
    attempt     integer not null default 0,
    uncounted_attempts  integer not null default 0,
    pending_parents       integer not null,
    worker      integer,
    run_at      real,
    enqueued_at real,
    claimed_at  real,
    settled_at  real,
    waits_for   text,
    name        text not null,
    children    text not null,
    result      text,
    error       text,
    checkpoint  text,
    primary key (task_id, no)
) without rowid;
create index step_due on step (queue_id, run_at) where state = 1;
create index step_held on step (worker) where state = 2;
create index step_waiting on step (waits_for) where state = 3;

create table attempt (
    task_id     text not null,
    no          integer not null,
    attempt     integer not null,
    outcome     integer not null,
    worker      integer,
    enqueued_at real,
    claimed_at  real,
    settled_at  real not null,
    error       text,
    primary key (task_id, no, attempt)
) without rowid;

create table audit (
    id      integer primary key,
    task_id text not null,
    no      integer,
    at      real not null,
    actor   text not null,
    action  text not null,
    reason  text not null,
    before  text not null,
    after   text not null
);
create index audit_task on audit (task_id, id);
