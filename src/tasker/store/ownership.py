"""States which code deletes the rows of each table, and when."""

OF_TASK = (
    *(
        "task_key",
        "task_attribute",
        "durable_call",
        "wait",
        "signal",
        "approval",
        "completion",
        "gate_claim",
        "body_gate",
        "task_place",
        "step_log",
    ),
    *("attempt", "audit", "pause", "spawn", "step", "task"),
)
"""Tables whose rows belong to a task, deleted with it by `Store.prune`, which the janitor and
`tasker db prune` call; the task itself last. `Store.prune_logs` deletes old rows of `step_log`
before their task."""

KEPT = {
    "worker": "`Store.prune`, without claims and 30 days after its lease, or at the given instant",
    "worker_queue": "`Store.retire_worker`; else `serve_queues` of others, an hour after the lease",
    "template": "never: tasks name their template for as long as they are kept",
    "template_step": "never: with its template",
    "queue": "never: templates name it",
    "broadcast": "`Store.prune_broadcasts`, which the janitor calls, a week after it was sent",
    "schedule": "`Store.delete_schedule`, or a template version that no longer declares it",
    "schedule_tick": "with its schedule; `Store.advance_schedule` keeps the latest 1,000",
    "gate": "`Store.prune`, two days after its last use, once all tasks from before are pruned",
    "limit_setting": "`Store.unset_limit`",
    "paged_action": "the operator's action or `Store.sweep`, once all its steps have changed",
    "bulk_operation": "`Store.prune_bulks`, which the janitor calls, 30 days after its end",
    "hook": "`Store.delete_hook`",
    "namespace_policy": "never: a policy is replaced in place",
    "team_event": "never: the audit log of teams is complete",
    "api_key": "never: a revoked key stays in the list",
    "session": "`Store.end_session` at logout; `Store.add_session`, once expired",
    "signing_key": "never: the last two are valid",
    "outbox": "`Store.prune_events`, days after their publication, once they are delivered",
    "subscription": "its webhook is deleted; of code, `Store.prune_events`, once unserved for days",
    "delivery": "`Store.prune_events`, days after its end, or with its subscription",
    "failure_care": "never: one row for each cause that an operator assigned, noted or muted",
    "figure": "`Store.tend_figures`, which the janitor calls, after 14 days",
    "schema_version": "never: one row for each migration",
}
"""The other tables: who deletes their rows, and when."""

OF_OPEN_TASKS = {
    "due": "whatever takes an enqueued step: a claim, an operator, a `queue_timeout`, a deadline",
    "claim_batch": "the end of the last of its claims",
}
"""Tables of PostgreSQL alone, with rows of open tasks only: who deletes them, and when."""
