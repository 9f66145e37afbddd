-- The engine's tables.
--
-- A task is its rows: one in `task`, and one in `step` for every node of its template,
-- made when the task is created. `step.pending_parents` counts the parents that are not done.
-- Whoever settles a parent lowers it; at zero the step becomes enqueued, and whoever
-- claims it makes it in_progress until it is settled in turn. The node 0 among a
-- step's children is the task itself: `task.open_sinks` counts the steps without
-- children that are not done, so the task row is written when a sink is, and at the end.
--
-- Claims walk `step_due`, a partial index over enqueued steps only, oldest first. A
-- freed step inherits the `run_at` of its parent, so "oldest" means the oldest task:
-- work that has begun is finished before new work begins.
--
-- A claim carries (task, step, attempt), and `attempt` grows by one with each claim.
-- Every statement that settles compares it: that is the fence. The lease is one row
-- per worker process; what it holds is found through `step_held`.
--
-- States: 0 pending (task: open), 1 enqueued, 2 in_progress, 3 waiting, 4 complete,
-- 5 error, 6 cancelled, 7 skipped, 8 resolved_manually.
-- Outcomes: 0 complete, 1 retry, 2 error, 3 lost, 4 released, 5 cancelled, 6 resolved_manually,
-- 7 parked.

create table template (
    id            int generated always as identity primary key,
    namespace     text not null,
    name          text not null,
    version       text not null,
    digest        text not null,
    document      json not null,
    sinks         int not null,
    registered_by text not null,
    registered_at timestamptz not null default now(),
    replaced_at   timestamptz
);
create unique index template_current on template (namespace, name, version)
    where replaced_at is null;

-- Where steps wait: one queue for each handler of each namespace, so that a worker
-- leaves alone what it cannot run.
create table queue (
    id        int generated always as identity primary key,
    namespace text not null,
    handler   text not null,
    unique (namespace, handler)
);

create table template_step (
    template_id int not null,
    no          int not null,
    name        text not null,
    queue_id    int not null,
    pending_parents       int not null,
    children    int[] not null,
    primary key (template_id, no)
);

create table worker (
    id          bigint generated always as identity primary key,
    name        text not null,
    started_at  timestamptz not null default now(),
    lease_until timestamptz not null,
    idle      boolean not null default false,
    slots       int not null,
    handlers    text[] not null
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

create table task (
    id              uuid primary key,
    template_id     int not null,
    state           smallint not null default 0,
    has_failed_step         boolean not null default false,
    open_sinks      int not null,
    created_at      timestamptz not null default now(),
    ended_at        timestamptz,
    deadline        timestamptz,
    correlation_id  text not null,
    parent_id       uuid,
    idempotency_key text,
    created_by      text not null,
    reason          text not null,
    tags            text[] not null,
    trace           text,
    context         json not null,
    error           json
);
create index task_status on task (state, id);
create index task_template on task (template_id, id);
create index task_correlation on task (correlation_id);
create index task_parent on task (parent_id) where parent_id is not null;
create index task_has_failed_step on task (id) where has_failed_step and state = 0;
create index task_overdue on task (deadline) where state = 0 and deadline is not null;

create table task_key (
    namespace text not null,
    key       text not null,
    task_id   uuid not null,
    digest    text not null,
    primary key (namespace, key)
);
create index task_key_task on task_key (task_id);

create table step (
    task_id     uuid not null,
    no          int not null,
    state       smallint not null,
    queue_id    int not null,
    attempt     int not null default 0,
    uncounted_attempts  int not null default 0,      -- attempts that max_attempts does not count
    pending_parents       int not null,
    worker      bigint,
    run_at      timestamptz,
    enqueued_at timestamptz,
    claimed_at  timestamptz,
    settled_at  timestamptz,
    waits_for   uuid,                        -- the task that a waiting step waits for
    name        text not null,
    children    int[] not null,
    result      json,
    error       json,
    checkpoint  json,
    primary key (task_id, no)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index step_due on step (queue_id, run_at, task_id, no) where state = 1;
create index step_held on step (worker) where state = 2;
create index step_waiting on step (waits_for) where state = 3;

create table attempt (
    task_id     uuid not null,
    no          int not null,
    attempt     int not null,
    outcome     smallint not null,
    worker      bigint,
    enqueued_at timestamptz,
    claimed_at  timestamptz,
    settled_at  timestamptz not null,
    error       json,
    primary key (task_id, no, attempt)
);

create table audit (
    id      bigint generated always as identity primary key,
    task_id uuid not null,
    no      int,
    at      timestamptz not null default now(),
    actor   text not null,
    action  text not null,
    reason  text not null,
    before  text not null,
    after   text not null
);
create index audit_task on audit (task_id, id);
