"""For each table, the code that deletes its rows, and when it does so."""

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
"""Tables whose rows belong to a task and are deleted with it by `Store.prune_tasks`, which the
janitor and `tasker db prune` call; the task's own row is deleted last. `Store.prune_logs`
deletes old rows of `step_log` earlier."""

KEPT = {
    "worker": "`Store.prune_tasks`, at most 30 days after the lease expired, unless claims remain",
    "worker_queue": "`Store.retire_worker`; `Store.add_served_queues`, 1 h after the lease ended",
    "template": "never: stored tasks refer to their template",
    "template_step": "never: kept with its template",
    "queue": "never: templates refer to it",
    "broadcast": "`Store.prune_broadcasts`, called by the janitor, a week after the broadcast",
    "schedule": "`Store.delete_schedule`, or registration of a version that no longer declares it",
    "schedule_tick": "deletion of the schedule; `Store.advance_schedule` keeps only 1,000 rows",
    "gate": "`Store.prune_tasks`, two days after its last use, once no task that used it is left",
    "limit_setting": "`Store.unset_limit`",
    "paged_action": "the action or the janitor, whichever changes the last of the task's steps",
    "bulk_operation": "`Store.prune_bulk_operations`, called by the janitor, 30 days after its end",
    "hook": "`Store.delete_hook`",
    "namespace_policy": "never: a policy is replaced in place",
    "team_event": "never: the audit log of teams is kept in full",
    "api_key": "never: revoked keys stay listed",
    "session": "`Store.end_session` at logout; `Store.add_session` if the session has expired",
    "signing_key": "never: there are few rows; only the latest two keys are used",
    "outbox": "`Store.prune_events_and_deliveries`, after the retention period, without deliveries",
    "subscription": "deletion of the webhook; `Store.prune_events_and_deliveries` if unserved",
    "delivery": "`Store.prune_events_and_deliveries` after retention; deletion of the subscription",
    "failure_triage": "never: one row for each cause that an operator assigned, annotated or muted",
    "figure": "`Store.maintain_minute_figures`, called by the janitor, after 14 days",
    "schema_version": "never: one row for each migration",
}
"""The other tables, each with the operation that deletes its rows and the time of the deletion."""

OF_OPEN_TASKS = {
    "due": "removal of the step from its queue: by a claim, an action, a timeout or a deadline",
    "claim_batch": "the end of the last attempt that the row lists",
}
"""Tables that only PostgreSQL has, each with the event that deletes its rows."""
