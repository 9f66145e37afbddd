-- The tables of the PostgreSQL store, where they are explained.
--
-- Instants are seconds since 1970 (real), lists and objects are JSON text. `temp.settled` and
-- `temp.child`, made when a connection opens, hold a settlement while it is worked out.

create table template (
    id            integer primary key,
    namespace     text not null,
    name          text not null,
    version       text not null,
    digest        text not null,
    document      text not null,
    sinks         integer not null,
    retention     real,
    status        text not null check (status in ('approved', 'pending_review', 'rejected', 'retired')),
    registered_by text not null,
    registered_at real not null,
    replaced_at   real,
    decided_by    text,
    decided_at    real,
    reason        text not null default '',
    paused        integer not null default 0,
    compensation_node integer,
    compensates_on    text not null default '[]',
    compensation_hold real not null default 0,
    end_events        integer
);
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

create table queue (
    id          integer primary key autoincrement,
    namespace   text not null,
    handler     text not null,
    requirement text not null default '',
    gated       integer not null default 0,
    weight      real not null default 1,
    unique (namespace, handler, requirement, gated)
);

create table template_step (
    template_id     integer not null,
    no              integer not null,
    name            text not null,
    queue_id        integer not null,
    own_queue_id    integer,
    pending_parents integer not null,
    children        text not null,
    scope           integer not null default 0,
    on_error        text,
    queue_timeout   real,
    compensated_by  integer,
    primary key (template_id, no)
) without rowid;

create table worker (
    id          integer primary key autoincrement,
    name        text not null,
    started_at  real not null,
    lease_until real not null,
    idle        integer not null default 0,
    slots       integer not null,
    handlers    text not null,
    labels      text not null default '{}',
    build       text not null default '',
    sdk         text not null default '',
    principal   text not null default '',
    host        text not null default '',
    machine     text not null default '',
    pid         integer not null default 0,
    pid_started integer not null default 0,
    quiet       integer not null default 0,
    registration text not null default ''
);

create table worker_queue (
    worker   integer not null,
    queue_id integer not null,
    primary key (worker, queue_id)
) without rowid;
create index worker_queue_queue on worker_queue (queue_id, worker);

create table task (
    id              text primary key,
    template_id     integer not null,
    state           integer not null default {OPEN},
    priority        integer not null default 2,
    has_failed_step integer not null default 0,
    paused          integer not null default 0,
    open_sinks      integer not null,
    last_no         integer,
    ending          integer,
    revision        integer not null default 0,
    created_at      real not null,
    ended_at        real,
    updated_at      real,
    deadline        real,
    correlation_id  text not null,
    parent_id       text,
    attached        integer,
    end_events      integer,
    forked_from     text,
    schedule_id     integer,
    scheduled_for   real,
    idempotency_key text,
    title           text,
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
create index task_schedule on task (schedule_id, id) where schedule_id is not null;
create index task_attached on task (parent_id, id) where attached = 1 and state = {OPEN};
create index task_has_failed_step on task (id) where has_failed_step = 1 and state = {OPEN};
create index task_ending on task (id) where ending is not null;
create index task_paused on task (template_id, id) where paused = 1;
create index task_overdue on task (deadline) where state = {OPEN} and deadline is not null;

create table task_key (
    namespace    text not null,
    key          text not null,
    task_id      text not null,
    digest       text not null,
    unique_while text not null default 'always' check (unique_while in ('always', 'open')),
    primary key (key, namespace)
) without rowid;
create index task_key_task on task_key (task_id);

create table task_attribute (
    namespace text not null,
    name      text not null,
    value     text not null,
    task_id   text not null,
    primary key (namespace, name, value, task_id)
) without rowid;
create index task_attribute_task on task_attribute (task_id);

create table step (
    task_id            text not null,
    no                 integer not null,
    state              integer not null,
    lost_attempts      integer not null default 0,
    queue_id           integer not null,
    attempt            integer not null default 0,
    uncounted_attempts integer not null default 0,
    pending_parents    integer not null,
    worker             integer,
    run_at             real,
    enqueued_at        real,
    claimed_at         real,
    settled_at         real,
    waits_for          text,
    name               text not null,
    children           text not null,
    result             text,
    error              text,
    checkpoint         text,
    missed_parents     integer,
    template_node      integer,
    spawned_by         integer,
    instance           integer,
    gate_id            integer,
    outer_gate_id      integer,
    queue_timeout      real,
    on_error           text,
    item               text,
    undoes             integer,
    primary key (task_id, no)
) without rowid;
create index step_due on step (queue_id, run_at) where state = {ENQUEUED};
create index step_held on step (worker) where state = {IN_PROGRESS};
create index step_waiting on step (waits_for) where state = {WAITING};
create index step_failed on step (name, task_id) where state = {ERROR};
create index step_error_code on step (json_extract(error, '$.code'), task_id) where state = {ERROR};
create index step_waits on step (task_id) where state = {WAITING};
create index step_gate on step (outer_gate_id, gate_id, queue_id, run_at) where gate_id is not null and state = {ENQUEUED};
create index step_queue_timeout on step ({include queue_timeout_at})
    where state = {ENQUEUED} and queue_timeout is not null;

create table spawn (
    task_id        text not null,
    join_no        integer not null,
    first_instance integer not null,
    instances      integer not null,
    first_no       integer not null,
    size           integer not null,
    no             integer not null,
    key            text not null,
    primary key (task_id, join_no, first_instance),
    unique (task_id, no, key)
) without rowid;

create table gate (
    id          integer primary key autoincrement,
    namespace   text not null,
    key         text not null,
    concurrency integer,
    rate        real,
    burst       integer,
    tokens      real not null default 0,
    refilled_at real not null,
    declared    text not null,
    declared_by integer not null,
    task_id     text,
    used_at     real not null,
    unique (namespace, key)
);
create index gate_task on gate (task_id) where task_id is not null;

create table gate_claim (
    gate_id integer not null,
    task_id text not null,
    no      integer not null,
    attempt integer not null,
    primary key (gate_id, task_id, no)
) without rowid;

create table body_gate (
    task_id       text not null,
    node          integer not null,
    gate_id       integer not null,
    outer_gate_id integer not null,
    primary key (task_id, node)
) without rowid;

create table task_place (
    task_id   text primary key,
    namespace text not null,
    key       text not null,
    tasks     integer not null,
    waiting   integer not null,
    ended     integer not null default 0
);
create index task_place_open on task_place (namespace, key, waiting, task_id) where ended = 0;
create index task_place_waiting on task_place (namespace, key, task_id) where waiting = 1 and ended = 0;

create table paged_action (
    task_id text not null,
    kind    text not null,
    last_no integer not null,
    details text not null,
    primary key (task_id, kind)
) without rowid;

create table limit_setting (
    namespace   text not null,
    pattern     text not null,
    concurrency integer,
    rate        text,
    burst       integer,
    updated_by  text not null,
    updated_at  real not null,
    primary key (namespace, pattern)
) without rowid;

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

create table durable_call (
    task_id text not null,
    no      integer not null,
    name    text not null,
    kind    text not null,
    value   text,
    until   real,
    primary key (task_id, no, name)
) without rowid;

create table wait (
    task_id   text not null,
    no        integer not null,
    kind      text not null,
    namespace text not null,
    name      text not null,
    key       text not null,
    call      text not null,
    call_kind text not null,
    began_at  real not null,
    wake_at   real,
    primary key (task_id, no, kind, namespace, name, key)
) without rowid;
create index wait_broadcast on wait (namespace, name, key, task_id, no) where kind = 'broadcast';
create index wait_late on wait (wake_at) where wake_at is not null;
create index wait_approval on wait (task_id, no) where kind = 'approval';

create table approval (
    id           text primary key,
    task_id      text not null,
    no           integer not null,
    call         text not null,
    form         text not null,
    assignees    text not null,
    opened_at    real not null,
    escalate_to  text not null,
    escalate_at  real,
    escalated_at real,
    decided_at   real,
    decided_by   text,
    decision     text,
    unique (task_id, no, call)
) without rowid;
create index approval_escalation on approval (escalate_at)
    where escalate_at is not null and escalated_at is null and decided_at is null;
create index approval_decided on approval (decided_at) where decided_at is not null;

create table completion (
    digest  text primary key,
    task_id text not null,
    no      integer not null
) without rowid;
create index completion_task on completion (task_id);

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
    updated_at real not null,
    primary key (namespace, name)
) without rowid;

create table signal (
    number   integer primary key autoincrement,
    task_id  text not null,
    name     text not null,
    id       text,
    payload  text not null,
    sent_by  text not null,
    sent_at  real not null,
    taken_by integer
);
create index signal_name on signal (task_id, name, number);
create unique index signal_id on signal (task_id, name, id) where id is not null;
create index signal_untaken on signal (task_id) where taken_by is null;

create table broadcast (
    number    integer primary key autoincrement,
    namespace text not null,
    name      text not null,
    key       text not null,
    id        text,
    payload   text not null,
    sent_by   text not null,
    sent_at   real not null,
    delivered integer not null default 0
);
create index broadcast_key on broadcast (namespace, name, key, number);
create unique index broadcast_id on broadcast (namespace, name, key, id) where id is not null;
create index broadcast_sent_at on broadcast (sent_at);
create index broadcast_undelivered on broadcast (sent_at) where delivered = 0;

-- All attempts that ended; nothing else reads `attempt`.
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

create table pause (
    name      text not null,
    kind      text not null check (kind in ('namespace', 'queue', 'task', 'template')),
    namespace text not null,
    paused_at real not null,
    paused_by text not null,
    reason    text not null,
    primary key (name, kind, namespace)
) without rowid;
create index pause_queue on pause (namespace, name) where kind in ('namespace', 'queue');

create table schedule (
    id          integer primary key autoincrement,
    namespace   text not null,
    name        text not null,
    template    text not null,
    version     text not null,
    spec        text not null,
    declared_by text,
    paused      integer not null default 0,
    revision    integer not null default 1,
    next_at     real not null,
    look_at     real not null,
    last_tick   real,
    last_task   text,
    created_by  text not null,
    created_at  real not null,
    updated_at  real not null,
    unique (namespace, name)
);
create index schedule_look_at on schedule (look_at) where paused = 0;

create table schedule_tick (
    schedule_id integer not null,
    first_tick  real not null,
    last_tick   real not null,
    outcome     text not null check (outcome in ('buffered', 'failed', 'missed', 'paused', 'skipped')),
    detail      text not null,
    primary key (schedule_id, first_tick)
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
    after   text not null,
    via     text,
    bulk_id text
);
create index audit_task on audit (task_id, id);

create table bulk_operation (
    id         text primary key,
    action     text not null check (action in ('cancel', 'resolve', 'retry')),
    status     text not null default 'running' check (status in ('complete', 'running', 'stopped')),
    request    text not null,
    per_second real not null,
    namespaces text,
    matches    integer not null,
    exact      integer not null,
    changed    integer not null default 0,
    rejected   text not null default '{}',
    rejections text not null default '[]',
    last_task  text not null,
    due_at     real not null,
    reason     text not null,
    created_by text not null,
    via        text,
    created_at real not null,
    updated_at real not null,
    ended_at   real,
    stopped_by text
) without rowid;
create index bulk_operation_due on bulk_operation (due_at) where status = 'running';
create index bulk_operation_ended on bulk_operation (ended_at) where status <> 'running';

create table namespace_policy (
    namespace         text primary key,
    owner_team        text not null,
    contact_email     text not null,
    description       text not null,
    requires_approval integer not null,
    approvers         text not null,
    http_hosts        text not null,
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
    after     text,
    via       text
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
    groups       text not null default '[]',
    handlers     text not null default '[]',
    created_by   text not null,
    created_at   real not null,
    expires_at   real,
    revoked_at   real,
    last_used_at real
);

-- Logins of people in a browser. digest: SHA-256 of the cookie's value. Either key_prefix: the API key that they
-- logged in with, which each request checks again; or claims (JSON): those of their identity provider. Expired rows are deleted by the next login.
create table session (
    digest     text primary key,
    key_prefix text,
    claims     text,
    created_at real not null,
    seen_at    real not null,
    expires_at real not null
) without rowid;
create index session_expiry on session (expires_at);

-- Secrets that sign the tickets of remote workers' claims, the newest last; tickets of the last two are valid.
create table signing_key (
    id         integer primary key autoincrement,
    secret     text not null default (lower(hex(randomblob(32)))),
    created_at real not null default (unixepoch())
);
create table outbox (
    id             integer primary key autoincrement,
    task_id        text not null,
    no             integer not null,
    attempt        integer not null,
    template_id    integer not null,
    outcome        integer not null,
    distributed    integer not null default 0,
    at             real not null,
    duration       real,
    name           text not null,
    step           text not null,
    correlation_id text not null,
    payload        text not null
);
create index outbox_task on outbox (task_id, id);
create index outbox_fresh on outbox (id) where distributed = 0;

create trigger task_ended after update of state on task
when new.state <> old.state and new.state <> {OPEN} and new.end_events >> new.state & 1
begin
    insert into outbox (task_id, no, attempt, template_id, outcome, at, duration, name, step, correlation_id, payload)
    values (new.id, 0, 1 + (select count(*) from outbox o where o.task_id = new.id and o.no = 0), new.template_id,
            case new.state when {COMPLETE} then {OUTCOME.COMPLETE} when {CANCELLED} then {OUTCOME.CANCELLED}
                           when {RESOLVED_MANUALLY} then {OUTCOME.RESOLVED_MANUALLY} else {OUTCOME.ERROR} end,
            new.ended_at, new.ended_at - new.created_at,
            case new.state when {COMPLETE} then 'tasker.task.completed' when {CANCELLED} then 'tasker.task.cancelled'
                           when {RESOLVED_MANUALLY} then 'tasker.task.resolved' else 'tasker.task.failed' end,
            '', new.correlation_id, json_object('error', json(coalesce(new.error, 'null'))));
end;

create table subscription (
    id            integer primary key autoincrement,
    namespace     text not null,
    name          text not null,
    patterns      text not null,
    url           text,
    secret        text,
    include       text not null default '[]',
    paused        integer not null default 0,
    failures      integer not null default 0,
    blocked_until real,
    served_at     real,
    created_by    text not null,
    created_at    real not null,
    unique (namespace, name)
);

create table delivery (
    id              integer primary key autoincrement,
    subscription_id integer not null,
    event_no        integer not null,
    task_id         text not null,
    status          text not null default 'pending' check (status in ('pending', 'delivered', 'dead')),
    attempts        integer not null default 0,
    created_at      real not null,
    since           real not null,
    next_at         real not null,
    settled_at      real,
    log             text not null default '[]'
);
create index delivery_due on delivery (subscription_id, next_at, id) where status = 'pending';
create index delivery_of_task on delivery (subscription_id, task_id, id) where status = 'pending';
create index delivery_log on delivery (subscription_id, id);
create index delivery_event on delivery (event_no);

create table figure (
    minute      integer not null,
    template_id integer not null,
    created     integer not null default 0,
    completed   integer not null default 0,
    failed      integer not null default 0,
    cancelled   integer not null default 0,
    steps       integer not null default 0,
    retries     integer not null default 0,
    seconds     real not null default 0,
    merged      integer not null default 0
);
create index figure_minute on figure (minute, template_id);
create index figure_fresh on figure (minute) where merged = 0;
create unique index figure_created on figure (minute) where template_id = 0;

create table step_log (
    task_id text not null,
    no      integer not null,
    attempt integer not null,
    number  integer not null,
    at      real not null,
    level   integer not null,
    source  text not null,
    message text not null,
    fields  text,
    primary key (task_id, no, attempt, number)
) without rowid;
create index step_log_of_task on step_log (task_id, at);
create index step_log_at on step_log (at);

create table failure_triage (
    namespace   text not null,
    fingerprint text not null,
    assignee    text not null,
    note        text not null,
    muted_until real,
    muted_below text,
    updated_by  text not null,
    updated_at  real not null,
    primary key (namespace, fingerprint)
);
