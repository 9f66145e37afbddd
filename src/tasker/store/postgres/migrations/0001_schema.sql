-- The tables of the store.
--
-- A task is its rows: one in `task`, and one in `step` for every node of its template,
-- made when the task is created. `step.pending_parents` counts the parents that are not done.
-- Settling a parent lowers it; at zero the step becomes enqueued, a claim makes it
-- in_progress, and it stays so until it is settled in turn. The node 0 among a step's
-- children is the task itself: `task.open_sinks` counts the steps without children that are
-- not done, so the task row is written when a sink is settled, and at the end.
--
-- Claims walk `due`, which has one row for each enqueued step, oldest first. A freed
-- step inherits the `run_at` of its parent, so "oldest" means the oldest task: work that has
-- begun is finished before new work begins. Whoever locks a step's row may delete its row in
-- `due`, nobody else.
--
-- A claim carries (task, step, attempt), and `attempt` grows by one with each claim. Every
-- statement that settles compares it: that is the fence. The lease is one row per worker
-- process; what it holds is found through `claim_batch`.
--
-- `Retry.max_attempts` bounds `attempt - uncounted_attempts`: attempts that were released or
-- parked are not counted, nor those that were lost with their worker. Losses have a count and
-- a bound of their own, `lost_attempts`.
--
-- States and outcomes are numbers, named by `Code` and `OutcomeCode` in tasker.model; SQL says
-- their names in braces. A task is OPEN until it ends in one of the states of a step.
--
-- A queue is (namespace, handler, requirement, gated) and stands for five ids, `id` to
-- `id + 4`, one for each priority: `step.queue_id` is the queue's id plus the task's
-- priority. Priority is thus part of where a step waits, and claims need no further index.
-- The steps of a paused task have the negative of that id, which no worker serves: whatever
-- enqueues one of them leaves it out of its queue.
--
-- Columns that no statement writes yet belong to features to come, and are here because the
-- schema is made once. All of those in `step` are nullable without a default: a row that does
-- not use them grows by nothing but its null bitmap.

-- retention: seconds for which tasks are kept after their end; null: as the setting says.
-- paused: its new tasks are paused. compensation_node: of the step that plans how completed steps are undone;
-- null: none is. compensates_on: the states in which tasks end that are compensated.
-- compensation_hold: seconds before it begins. end_events: bits by the states whose tasks publish an event at their
-- end; null: none.
create table template (
    id            int generated always as identity primary key,
    namespace     text not null,
    name          text not null,
    version       text not null,
    digest        text not null,
    document      json not null,
    sinks         int not null,
    retention     float8,
    status        text not null check (status in ('approved', 'pending_review', 'rejected', 'retired')),
    registered_by text not null,
    registered_at timestamptz not null default now(),
    replaced_at   timestamptz,
    decided_by    text,
    decided_at    timestamptz,
    reason        text not null default '',
    paused        boolean not null default false,
    compensation_node int,
    compensates_on    smallint[] not null default '{}',
    compensation_hold float8 not null default 0,
    end_events        int
);
-- A version may have several rows that were not replaced: one that is in force (approved or
-- retired), one that waits to take its place, and any number that were rejected. The unique
-- indexes keep it so when processes register at once.
create index template_name on template (namespace, name, version);
create unique index template_in_force on template (namespace, name, version)
    where replaced_at is null and status in ('approved', 'retired');
create unique index template_waiting on template (namespace, name, version)
    where replaced_at is null and status = 'pending_review';

-- Templates by name, without their documents.
create view template_version as
select id, namespace, name, version, status, registered_by, registered_at, decided_by, decided_at,
       reason, digest
from template
where replaced_at is null;

-- requirement: what a worker must offer besides the handler: '' (nothing), a version range of
-- its code, labels. gated: its steps are under limits and are therefore claimed separately.
-- weight: its share of claims beside other queues.
create table queue (
    id          int generated always as identity (start with 5 increment by 5) primary key,
    namespace   text not null,
    handler     text not null,
    requirement text not null default '',
    gated       boolean not null default false,
    weight      float8 not null default 1,
    unique (namespace, handler, requirement, gated)
);

-- scope: 0, a step that is made with its task; -1, one that undoes others and is made when its task fails or is
-- cancelled; else the number of the step whose instances it is part of. compensated_by: the node that undoes it. queue_id: the queue in which it begins. own_queue_id: that of its handler, where
-- it begins in the queue of the engine. children: those that a success frees; one that stands there
-- several times is freed by fewer parents than it has. on_error: those that a failure reaches.
-- queue_timeout: seconds for which a step may be due without being claimed.
create table template_step (
    template_id     int not null,
    no              int not null,
    name            text not null,
    queue_id        int not null,
    own_queue_id    int,
    pending_parents int not null,
    children        int[] not null,
    scope           int not null default 0,
    on_error        int[],
    queue_timeout   float8,
    compensated_by  int,
    primary key (template_id, no)
);

-- machine: a name for the processes that see each other's ids; pid, pid_started: which of them this
-- worker's is, so that another there can see that it is gone.
-- labels: what its requirement may ask for. build: version of the code it offers. sdk: name and
-- version of the library. principal: as whom a remote worker authenticated.
-- quiet: it must not claim more steps. registration: of a remote worker, what it registered; '' of others.
create table worker (
    id          bigint generated always as identity primary key,
    name        text not null,
    started_at  timestamptz not null default now(),
    lease_until timestamptz not null,
    idle        boolean not null default false,
    slots       int not null,
    handlers    text[] not null,
    labels      json not null default '{}',
    build       text not null default '',
    sdk         text not null default '',
    principal   text not null default '',
    host        text not null default '',
    machine     text not null default '',
    pid         int not null default 0,
    pid_started bigint not null default 0,
    quiet       boolean not null default false,
    registration text not null default ''
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

-- The queues from which a worker claims, by their ids for priority 0; the negative of these for
-- queues of limited steps, which `claim` and settlements do not serve, only `claim_limited`.
create table worker_queue (
    worker   bigint not null,
    queue_id int not null,
    primary key (worker, queue_id)
);
create index worker_queue_queue on worker_queue (queue_id, worker);

-- priority: 0 to 4, the most urgent last; here for display, and inherited by child tasks.
-- paused: its steps are out of their queues. last_no: the greatest number of a step, where more were made than
-- the template has. ending: the state that it ends in once its compensation is complete; null: it is not compensated.
-- While steps in progress may still complete, open_sinks is too great by a million, so that they do not complete the task.
-- revision: grows with each rewrite of its steps. forked_from: the task that it repeats.
-- updated_at: the last action of an operator; each moves it forward.
-- schedule_id, scheduled_for: the schedule and its tick that the task was made for.
-- attached: it is cancelled with its parent. end_events: as in `template`; see functions/publish_task_end.sql.
create table task (
    id              uuid primary key,
    template_id     int not null,
    state           smallint not null default {OPEN},
    priority        smallint not null default 2,
    has_failed_step boolean not null default false,
    paused          boolean not null default false,
    open_sinks      int not null,
    last_no         int,
    ending          smallint,
    revision        int not null default 0,
    created_at      timestamptz not null default now(),
    ended_at        timestamptz,
    updated_at      timestamptz,
    deadline        timestamptz,
    correlation_id  text not null,
    parent_id       uuid,
    attached        boolean,
    end_events      int,
    forked_from     uuid,
    schedule_id     int,
    scheduled_for   timestamptz,
    idempotency_key text,
    title           text,
    created_by      text not null,
    reason          text not null,
    tags            text[] not null,
    trace           text,
    context         json not null,
    error           json
);
create index task_status on task (state, id) include (template_id);   -- read alone by counts
create index task_template on task (template_id, id);
create index task_correlation on task (correlation_id);
create index task_creator on task (created_by, id);
create index task_parent on task (parent_id) where parent_id is not null;
create index task_schedule on task (schedule_id, id) where schedule_id is not null;
create index task_attached on task (parent_id, id) where attached and state = {OPEN};
create index task_has_failed_step on task (id) where has_failed_step and state = {OPEN};
create index task_ending on task (id) where ending is not null;
create index task_paused on task (template_id, id) where paused;
create index task_tags on task using gin (tags) where tags <> '{}';
create index task_overdue on task (deadline) where state = {OPEN} and deadline is not null;

-- unique_while: 'always', until the task is pruned; 'open', until it ends. The keys of tasks that a step
-- created begin with `task:number:`, so they are next to each other in the index, whatever their namespaces are.
create table task_key (
    namespace    text not null,
    key          text collate "C" not null,
    task_id      uuid not null,
    digest       text not null,
    unique_while text not null default 'always' check (unique_while in ('always', 'open')),
    primary key (key, namespace)
);
create index task_key_task on task_key (task_id);

-- Searchable attributes of tasks.
create table task_attribute (
    namespace text not null,
    name      text not null,
    value     text not null,
    task_id   uuid not null,
    primary key (namespace, name, value, task_id)
);
create index task_attribute_task on task_attribute (task_id);

-- enqueued_at: when the attempt could have been claimed. waits_for: the task that a waiting
-- step waits for. template_node: the template's step, of one made at run time; null: its own
-- number. spawned_by: the step that made it. instance: which of that step's instances, from 0.
-- item: what this instance is given. missed_parents: parents that ended without success.
-- on_error, queue_timeout: as in template_step. gate_id: the gate that it passes when it is claimed;
-- outer_gate_id: that of the wider one of two limits, 0 if it has one limit. undoes: the step that it undoes, with
-- that one's spawned_by, instance and item; 0: it plans the steps that undo others; null: it undoes none.
--
-- No index, in its columns or its predicate, names what every step changes (state, worker, run_at, ...),
-- and pages have room for new versions of their rows. So the claim and the settlement of a step are
-- heap-only updates: they write no index. What changes with each step has tables of its own below.
create table step (
    task_id            uuid not null,
    no                 int not null,
    state              smallint not null,
    lost_attempts      smallint not null default 0,
    queue_id           int not null,
    attempt            int not null default 0,
    uncounted_attempts int not null default 0,
    pending_parents    int not null,
    worker             bigint,
    run_at             timestamptz,
    enqueued_at        timestamptz,
    claimed_at         timestamptz,
    settled_at         timestamptz,
    waits_for          uuid,
    name               text not null,
    children           int[] not null,
    result             json,
    error              json,
    checkpoint         json,
    missed_parents     int,
    template_node      int,
    spawned_by         int,
    instance           int,
    gate_id            int,
    outer_gate_id      int,
    queue_timeout      float8,
    on_error           int[],
    item               json,
    undoes             int,
    primary key (task_id, no)
) with (fillfactor = 60, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 0);
create index step_waiting on step (waits_for) where waits_for is not null;
create index step_waits on step (task_id) where waits_for is not null;
create index step_failed on step (name, task_id) where error is not null;
create index step_error_code on step ((left(error ->> 'code', 200)), task_id) where error is not null;

-- Enqueued steps, by when they may be claimed. latest_claim: the time at which it will have waited for as
-- long as its `queue_timeout` says. gate_id, outer_gate_id: as in `step`.
create table due (
    run_at        timestamptz not null,
    task_id       uuid not null,
    queue_id      int not null,
    no            int not null,
    latest_claim  timestamptz,
    gate_id       int,
    outer_gate_id int,
    primary key (queue_id, run_at, task_id, no)
) with (autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 0);
create index due_latest_claim on due (latest_claim) where latest_claim is not null;
create index due_gate on due (outer_gate_id, gate_id, queue_id, run_at, task_id, no) where gate_id is not null;

-- What bounds the steps that share a limit key. namespace: '' for keys shared by all namespaces.
-- concurrency: steps in progress; null: any number. rate: steps claimed per second; null: any
-- number. burst: the most tokens. tokens: how many there were at refilled_at; a claim takes one.
-- declared: {concurrency, rate, burst} in the template `declared_by`, the newest that used the key;
-- limit_setting goes before it. task_id: the task of a map's limit. used_at: when a task was created
-- under it, to the day.
create table gate (
    id          int generated always as identity primary key,
    namespace   text not null,
    key         text not null,
    concurrency int,
    rate        float8,
    burst       int,
    tokens      float8 not null default 0,
    refilled_at timestamptz not null default now(),
    declared    json not null,
    declared_by int not null,
    task_id     uuid,
    used_at     timestamptz not null default now(),
    unique (namespace, key)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.02);
create index gate_task on gate (task_id) where task_id is not null;

-- Steps that were claimed through gates. Rows of attempts that have ended stay until the next claim
-- through their gate, so no statement that ends attempts writes here.
create table gate_claim (
    gate_id int not null,
    task_id uuid not null,
    no      int not null,
    attempt int not null,
    primary key (gate_id, task_id, no)
) with (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.02);

-- The gates of the steps that a task makes at run time, by their nodes in the template.
create table body_gate (
    task_id       uuid not null,
    node          int not null,
    gate_id       int not null,
    outer_gate_id int not null,
    primary key (task_id, node)
);

-- Tasks under a bound of open tasks by their key. namespace: '' for keys shared by all namespaces. tasks: how many may
-- be open. waiting: it waits for others to end, and has a row in `pause` for that. ended: as of the last look.
create table task_place (
    task_id   uuid primary key,
    namespace text not null,
    key       text not null,
    tasks     int not null,
    waiting   boolean not null,
    ended     boolean not null default false
);
create index task_place_open on task_place (namespace, key, waiting, task_id) where not ended;
create index task_place_waiting on task_place (namespace, key, task_id) where waiting and not ended;

-- Actions on tasks of many steps, which are carried out in pages and have steps left to change; see operations/paging.py.
-- kind: 'end', 'pause' (or resume) or 'retry'. last_no: the greatest number of a step that was looked at. details: what the
-- others become.
create table paged_action (
    task_id uuid,
    kind    text,
    last_no int not null,
    details json not null,
    primary key (task_id, kind)
);

-- Limits that operators set, for a key or for all keys that match a pattern.
create table limit_setting (
    namespace   text not null,
    pattern     text not null,
    concurrency int,
    rate        text,
    burst       int,
    updated_by  text not null,
    updated_at  timestamptz not null default now(),
    primary key (namespace, pattern)
);

-- Steps in progress, by the worker and the time of their claim: those that one statement claimed
-- share a row. open: how many of them are still in progress under that claim; at 0 the row goes.
create table claim_batch (
    worker     bigint not null,
    claimed_at timestamptz not null,
    open       int not null,
    tasks      uuid[] not null,
    nos        int[] not null,
    primary key (worker, claimed_at)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 0);
alter table claim_batch alter tasks set storage external, alter nos set storage external;

-- Steps that were made at run time: `instances` of `size` steps each, numbered from `first_no`, instance by
-- instance. join_no: the step that waits for all of them. first_instance: which of the join's
-- instances is the first, from 0. no, key: the step that spawned them, and which of its spawns it was.
create table spawn (
    task_id        uuid not null,
    join_no        int not null,
    first_instance int not null,
    instances      int not null,
    first_no       int not null,
    size           int not null,
    no             int not null,
    key            text not null,
    primary key (task_id, join_no, first_instance),
    unique (task_id, no, key)
);

-- History: one row for each attempt that ended, but for first ones that succeeded; see attempt_history.
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

-- The durable calls of a step's handler by name, kept over attempts. kind: a `CallKind`.
-- until: the end of a sleep.
create table durable_call (
    task_id uuid not null,
    no      int not null,
    name    text not null,
    kind    text not null,
    value   json,
    until   timestamptz,
    primary key (task_id, no, name)
);

-- What ends the wait of a waiting step, one row for each thing that may arrive. Whatever is first deletes
-- all rows of its step, records itself as the durable call `call`, of the kind `call_kind`, and enqueues
-- the step. kind: a `WaitKind`. namespace, key: of a broadcast. wake_at: when the wait times out.
--
-- A wait and an arrival never miss each other: the transactions of both begin with `lock_mailboxes`,
-- which settlements never do.
create table wait (
    task_id   uuid not null,
    no        int not null,
    kind      text not null,
    namespace text not null,
    name      text not null,
    key       text not null,
    call      text not null,
    call_kind text not null,
    began_at  timestamptz not null default now(),
    wake_at   timestamptz,
    primary key (task_id, no, kind, namespace, name, key)
);
create index wait_broadcast on wait (namespace, name, key, task_id, no) where kind = 'broadcast';
create index wait_late on wait (wake_at) where wake_at is not null;
create index wait_approval on wait (task_id, no) where kind = 'approval';

-- Decisions that steps wait for; open while a row of `wait` has its step and call. assignees: `user:NAME` and
-- `role:NAME`, none: everybody who may decide. form: a JSON Schema, which the decision fits.
create table approval (
    id           uuid primary key,
    task_id      uuid not null,
    no           int not null,
    call         text not null,
    form         json not null,
    assignees    text[] not null,
    opened_at    timestamptz not null default now(),
    escalate_to  text[] not null,
    escalate_at  timestamptz,
    escalated_at timestamptz,
    decided_at   timestamptz,
    decided_by   text,
    decision     json,
    unique (task_id, no, call)
);
create index approval_escalation on approval (escalate_at)
    where escalate_at is not null and escalated_at is null and decided_at is null;
create index approval_decided on approval (decided_at) where decided_at is not null;

-- Tokens with which other systems complete external steps: SHA-256 of each. They are valid until the step ends.
create table completion (
    digest  text primary key,
    task_id uuid not null,
    no      int not null
);
create index completion_task on completion (task_id);

-- Provider hooks: how their requests are signed, and what these become. key, id: paths.
create table hook (
    namespace  text not null,
    name       text not null,
    scheme     text not null,
    header     text not null,
    secret     text not null,
    target     text not null,
    sends      text not null,
    key        text not null,
    id         text,
    condition  text,
    updated_by text not null,
    updated_at timestamptz not null,
    primary key (namespace, name)
);

-- Signals to tasks, in the order of `number`. taken_by: the step that received it.
create table signal (
    task_id  uuid not null,
    name     text not null,
    number   bigint generated always as identity,
    id       text,
    payload  json not null,
    sent_by  text not null,
    sent_at  timestamptz not null default now(),
    taken_by int,
    primary key (task_id, name, number)
);
create unique index signal_id on signal (task_id, name, id) where id is not null;
create index signal_untaken on signal (task_id) where taken_by is null;

-- Broadcasts of the last week. delivered: all steps that waited for it have received it.
create table broadcast (
    namespace text not null,
    name      text not null,
    key       text not null,
    number    bigint generated always as identity,
    id        text,
    payload   json not null,
    sent_by   text not null,
    sent_at   timestamptz not null default now(),
    delivered boolean not null default false,
    primary key (namespace, name, key, number)
);
create unique index broadcast_id on broadcast (namespace, name, key, id) where id is not null;
create index broadcast_sent_at on broadcast (sent_at);
create index broadcast_undelivered on broadcast (sent_at) where not delivered;

-- All attempts that ended; nothing else reads `attempt`. A step that is complete at its first attempt
-- has no row there, as its own row has all of it. Whatever reopens or overwrites such a step inserts
-- the row first, in the same transaction.
create view attempt_history as
select s.task_id, s.no, coalesce(s.template_node, s.no) as template_node,
       coalesce(a.attempt, s.attempt) as attempt,
       coalesce(a.outcome, {OUTCOME.COMPLETE}) as outcome,
       case when a.no is null then s.worker else a.worker end as worker,
       case when a.no is null then s.enqueued_at else a.enqueued_at end as enqueued_at,
       case when a.no is null then s.claimed_at else a.claimed_at end as claimed_at,
       coalesce(a.settled_at, s.settled_at) as settled_at,
       a.error
from step s
left join attempt a on a.task_id = s.task_id and a.no = s.no
where a.no is not null or ({include succeeded_at_first_attempt step=s});

-- What is paused: a task (name: its id), a template, the queues of a handler, or a namespace
-- (name: '').
create table pause (
    name      text not null,
    kind      text not null check (kind in ('namespace', 'queue', 'task', 'template')),
    namespace text not null,
    paused_at timestamptz not null default now(),
    paused_by text not null,
    reason    text not null,
    primary key (name, kind, namespace)
);
create index pause_queue on pause (namespace, name) where kind in ('namespace', 'queue');

-- template, version: what its tasks run: a name in its namespace, and a version or a range ('': the
-- latest release). spec: the rest of what was declared, as JSON. declared_by: the version of the
-- template that declares it; null: an operator made it. revision: grows with each change of these.
-- next_at: the first tick that was not handled. look_at: when a janitor looks at it; it only moves
-- forward, and so tells one look from another. last_tick, last_task: the latest that got a task.
create table schedule (
    id          int generated always as identity primary key,
    namespace   text not null,
    name        text not null,
    template    text not null,
    version     text not null,
    spec        json not null,
    declared_by text,
    paused      boolean not null default false,
    revision    int not null default 1,
    next_at     timestamptz not null,
    look_at     timestamptz not null,
    last_tick   timestamptz,
    last_task   uuid,
    created_by  text not null,
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    unique (namespace, name)
) with (fillfactor = 70);
create index schedule_look_at on schedule (look_at) where not paused;

-- Ticks without a task: those that wait for the end of an earlier one, each by itself, and those that
-- never get one, successive ones together.
create table schedule_tick (
    schedule_id int not null,
    first_tick  timestamptz not null,
    last_tick   timestamptz not null,
    outcome     text not null check (outcome in ('buffered', 'failed', 'missed', 'paused', 'skipped')),
    detail      text not null,
    primary key (schedule_id, first_tick)
);

-- Operators' actions on tasks. via: ui, api, cli, mcp; null: neither of them.
create table audit (
    id      bigint generated always as identity primary key,
    task_id uuid not null,
    no      int,
    at      timestamptz not null default now(),
    actor   text not null,
    action  text not null,
    reason  text not null,
    before  text not null,
    after   text not null,
    via     text,
    bulk_id uuid     -- of the bulk operation that it was a part of
);
create index audit_task on audit (task_id, id);

-- Operations on many tasks. Tasks are handled from the newest to the oldest, down to `last_task`. due_at: when the next
-- batch may begin, by the pace of the operation or because the process that began this one has died. namespaces: null is all.
create table bulk_operation (
    id         uuid primary key,
    action     text not null check (action in ('cancel', 'resolve', 'retry')),
    status     text not null default 'running' check (status in ('complete', 'running', 'stopped')),
    request    json not null,
    per_second double precision not null,
    namespaces text[],
    matches    int not null,
    exact      boolean not null,
    changed    int not null default 0,
    rejected   json not null default '{}',
    rejections json not null default '[]',
    last_task  uuid not null,
    due_at     timestamptz not null default now(),
    reason     text not null,
    created_by text not null,
    via        text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    ended_at   timestamptz,
    stopped_by text
) with (fillfactor = 70);
create index bulk_operation_due on bulk_operation (due_at) where status = 'running';
create index bulk_operation_ended on bulk_operation (ended_at) where status <> 'running';

-- Teams: who owns a namespace, who may call, who did what.
create table namespace_policy (
    namespace         text primary key,
    owner_team        text not null,
    contact_email     text not null,
    description       text not null,
    requires_approval boolean not null,
    approvers         text[] not null,
    http_hosts        text[] not null,
    updated_by        text not null,
    updated_at        timestamptz not null
);

-- before, after: JSON. namespace: null where the subject belongs to no single one.
create table team_event (
    id        bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    namespace text,
    subject   text not null,
    actor     text not null,
    action    text not null,
    reason    text not null,
    before    json,
    after     json,
    via       text
);
create index team_event_namespace on team_event (namespace, id);

-- digest: SHA-256 of the secret, which is kept nowhere. groups: what `role:` assignees match. handlers: what its
-- workers may serve.
create table api_key (
    id           int generated always as identity primary key,
    prefix       text not null unique,
    digest       text not null,
    name         text not null,
    scopes       text[] not null,
    namespaces   text[] not null,
    roles        text[] not null,
    groups       text[] not null default '{}',
    handlers     text[] not null default '{}',
    created_by   text not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- Logins of people in a browser. digest: SHA-256 of the cookie's value. Either key_prefix: the API key that they
-- logged in with, which each request checks again; or claims (JSON): those of their identity provider. Expired rows are deleted by the next login.
create table session (
    digest     text primary key,
    key_prefix text,
    claims     json,
    created_at timestamptz not null default now(),
    seen_at    timestamptz not null default now(),
    expires_at timestamptz not null
);
create index session_expiry on session (expires_at);
-- Secrets that sign the tickets of remote workers' claims, the newest last; tickets of the last two are valid.
create table signing_key (
    id         int generated always as identity (start with 2) primary key,   -- 1: see add_first_ticket_signing_key
    secret     text not null default gen_random_uuid()::text || gen_random_uuid()::text,
    created_at timestamptz not null default now()
);
-- Domain events of accepted outcomes, and of tasks at their end (no: 0), stored with them. distributed: every subscription that it
-- matches has a delivery. Ids are drawn before the commit, so rows appear out of their order: readers
-- take what is not distributed, never what lies beyond an id.
create table outbox (
    id             bigint generated always as identity primary key,
    task_id        uuid not null,
    no             int not null,
    attempt        int not null,
    template_id    int not null,
    outcome        smallint not null,
    distributed    boolean not null default false,
    at             timestamptz not null default now(),
    duration       float8,
    name           text not null,
    step           text not null,
    correlation_id text not null,
    payload        json not null
);
create index outbox_task on outbox (task_id, id);
create index outbox_fresh on outbox (id) where not distributed;

-- Who receives events: webhooks, and code in workers, which has no url. namespace: of the events;
-- '*': all. patterns: names of events, or prefixes and '*'. secret: the key of signatures. include: what else
-- its requests contain. failures: of the endpoint, one after the other; it gets nothing until blocked_until.
-- served_at: when a worker last had its code.
create table subscription (
    id            int generated always as identity primary key,
    namespace     text not null,
    name          text not null,
    patterns      text[] not null,
    url           text,
    secret        text,
    include       text[] not null default '{}',
    paused        boolean not null default false,
    failures      int not null default 0,
    blocked_until timestamptz,
    served_at     timestamptz,
    created_by    text not null,
    created_at    timestamptz not null default now(),
    unique (namespace, name)
);

-- Events on their way to subscriptions; a subscription's rows of one task go one after the other.
-- next_at: when it is due; of one that is being delivered: when others may take it over.
-- since: begin of its attempts. log: one object for each attempt. Rows delivered to workers are deleted.
create table delivery (
    id              bigint generated always as identity primary key,
    subscription_id int not null,
    event_no        bigint not null,
    task_id         uuid not null,
    status          text not null default 'pending' check (status in ('pending', 'delivered', 'dead')),
    attempts        int not null default 0,
    created_at      timestamptz not null default now(),
    since           timestamptz not null default now(),
    next_at         timestamptz not null default now(),
    settled_at      timestamptz,
    log             json not null default '[]'
);
create index delivery_due on delivery (subscription_id, next_at, id) where status = 'pending';
create index delivery_of_task on delivery (subscription_id, task_id, id) where status = 'pending';
create index delivery_log on delivery (subscription_id, id);
create index delivery_event on delivery (event_no);

-- What happened to the tasks of a template in a minute: rows that workers append, and that become
-- one row once merged. minute: minutes since 1970. A row of template 0 says that the tasks created in
-- a minute are counted.
create table figure (
    minute      int not null,
    template_id int not null,
    created     int not null default 0,
    completed   int not null default 0,
    failed      int not null default 0,
    cancelled   int not null default 0,
    steps       int not null default 0,
    retries     int not null default 0,
    seconds     float8 not null default 0,
    merged      boolean not null default false
);
create index figure_minute on figure (minute, template_id);
create index figure_fresh on figure (minute) where not merged;
create unique index figure_created on figure (minute) where template_id = 0;

-- What handlers logged or printed. number: of the record in its attempt, from 0. at: by the clock of the worker.
-- level: 10 (debug) to 50 (critical). source: the logger's name, stdout or stderr. fields: what else it names.
create table step_log (
    task_id uuid not null,
    no      int not null,
    attempt int not null,
    number  int not null,
    at      timestamptz not null,
    level   smallint not null,
    source  text not null,
    message text not null,
    fields  json,
    primary key (task_id, no, attempt, number)
);
create index step_log_of_task on step_log (task_id, at);
create index step_log_at on step_log (at);

-- The triage of causes of failures: assignee, note and mute. A cause counts as muted until muted_until, or while it only
-- happens in versions of the template below muted_below.
create table failure_triage (
    namespace   text not null,
    fingerprint text not null,
    assignee    text not null,
    note        text not null,
    muted_until timestamptz,
    muted_below text,
    updated_by  text not null,
    updated_at  timestamptz not null,
    primary key (namespace, fingerprint)
);
