"""Pausing and resuming tasks, templates, queues and namespaces."""

from collections.abc import Collection, Sequence
from functools import partial

from tasker import codec
from tasker.errors import InvalidInput, NotFound
from tasker.model import GREATEST_WEIGHT, LEAST_WEIGHT, Pause, PauseKind, PauseTarget, TaskStatus
from tasker.store import operator_rules
from tasker.store.operations.auditing import add_audit_entry
from tasker.store.operations.operators import Operators, lock_task_for_action
from tasker.store.operations.paging import BEFORE_ALL_TASKS
from tasker.store.operations.pausing import set_tasks_paused
from tasker.store.operations.teams import add_team_audit_entry
from tasker.store.protocol import AuditNote
from tasker.store.session import Session
from tasker.suggest import did_you_mean

_PAGE = 100  #: tasks of a template that are paused or resumed in one transaction
_RECENT = 60.0
"""Seconds after a template is paused during which tasks whose creation had begun are paused too."""


class Pauses(Operators):
    """Implements `tasker.store.protocol.PauseStore`."""

    async def pause(
        self, target: PauseTarget, act: AuditNote, *, if_match: str | None = None
    ) -> Pause:
        if target.kind is PauseKind.TASK:
            pause = await self._in_yielding_transaction(
                lambda tx: _pause_task(tx, target, act, if_match)
            )
            await self._finish_actions(operator_rules.canonical_task_id(target.name))
            return pause
        pause = await self._in_write_transaction(lambda tx: _pause_target(tx, target, act))
        if target.kind is PauseKind.TEMPLATE:
            await self._set_template_tasks_paused(target, paused=True)
        return pause

    async def resume(
        self, target: PauseTarget, act: AuditNote, *, if_match: str | None = None
    ) -> bool:
        if target.kind is PauseKind.TASK:
            resumed = await self._in_yielding_transaction(
                lambda tx: _resume_task(tx, target, act, if_match)
            )
            await self._finish_actions(operator_rules.canonical_task_id(target.name))
            return resumed
        resumed = await self._in_write_transaction(lambda tx: _resume_target(tx, target, act))
        if target.kind is PauseKind.TEMPLATE:
            await self._set_template_tasks_paused(target, paused=False)
        return resumed

    async def list_pauses(self, *, namespace: str | None = None) -> list[Pause]:
        async def read_pauses(tx: Session) -> list[Pause]:
            return [
                tx.read.parse_pause(row)
                for row in await tx.fetch_all("list_pauses", namespace=namespace)
            ]

        return await self._in_read_transaction(read_pauses)

    async def find_paused_queues(self, queues: Collection[PauseTarget]) -> set[PauseTarget]:
        rows = await self._fetch_all(
            "find_paused_queues",
            queues=codec.dump_rows([[queue.namespace, queue.name] for queue in queues]),
        )
        return {PauseTarget.of_queue(row["namespace"], row["handler"]) for row in rows}

    async def set_queue_weight(
        self, namespace: str, handler: str, weight: float, act: AuditNote
    ) -> None:
        if not LEAST_WEIGHT <= weight <= GREATEST_WEIGHT:
            raise InvalidInput(
                f"must be from {LEAST_WEIGHT} to {GREATEST_WEIGHT}, not {weight}", path="$.weight"
            )
        queue = {"namespace": namespace, "handler": handler}

        async def set_and_audit_weight(tx: Session) -> None:
            rows = await tx.lock_rows("get_queue_weight", **queue)
            if not rows:
                raise await _unknown_queue_error(tx, namespace, handler)
            if (before := rows[0]["weight"]) == weight:
                return
            await tx.fetch_all("set_queue_weight", **queue, weight=weight)
            subject = f"queue {handler}"
            facts = before, weight
            await add_team_audit_entry(
                tx, act, "set_queue_weight", subject, *facts, namespace=namespace
            )

        await self._in_write_transaction(set_and_audit_weight)

    async def pause_late_tasks_of_paused_templates(self) -> None:
        """Pause tasks and versions that were being created while their template was paused."""
        for row in await self._fetch_all("recently_paused_templates", seconds=_RECENT):
            target = PauseTarget.of_template(row["namespace"], row["name"])
            await self._set_template_tasks_paused(target, paused=True)

    async def _set_template_tasks_paused(self, target: PauseTarget, *, paused: bool) -> None:
        """Pause or resume the tasks of a template, in pages."""
        names = {"namespace": target.namespace, "name": target.name}
        statement = "lock_tasks_to_pause" if paused else "lock_tasks_to_resume"

        async def set_next_tasks_paused(tx: Session, after: str) -> Sequence[str]:
            await tx.fetch_all("sync_paused_flag_of_templates", **names)
            rows = await tx.fetch_all(statement, **names, after=after, limit=_PAGE)
            tasks = [row["id"] for row in rows]
            await set_tasks_paused(tx, tasks, paused=paused)
            return tasks

        tasks: Sequence[str] = [BEFORE_ALL_TASKS]
        while tasks:
            tasks = await self._in_yielding_transaction(
                partial(set_next_tasks_paused, after=tasks[-1])
            )
        await self.continue_paged_actions()


async def _pause_task(
    tx: Session, target: PauseTarget, act: AuditNote, if_match: str | None
) -> Pause:
    task_id = operator_rules.canonical_task_id(target.name)
    status = await lock_task_for_action(tx, task_id, "pause", operator_rules.OPEN, if_match)
    (task,) = await tx.fetch_all("template_and_pauses_of_task", task_id=task_id)
    pause, new = await _add_or_find_pause(
        tx, PauseTarget(target.kind, task["namespace"], task_id), act
    )
    if new:
        await add_audit_entry(tx, task_id, None, "pause", act, status, "paused")
        if not task["paused"]:
            await set_tasks_paused(tx, [task_id], paused=True)
    return pause


async def _resume_task(
    tx: Session, target: PauseTarget, act: AuditNote, if_match: str | None
) -> bool:
    task_id = operator_rules.canonical_task_id(target.name)
    status = await lock_task_for_action(tx, task_id, "resume", frozenset(TaskStatus), if_match)
    (task,) = await tx.fetch_all("template_and_pauses_of_task", task_id=task_id)
    ended = await tx.fetch_all(
        "delete_pause", kind="task", namespace=task["namespace"], name=task_id
    )
    if not ended:
        return False
    await add_audit_entry(tx, task_id, None, "resume", act, "paused", status)
    await tx.fetch_all("mark_concurrency_place_admitted", task_id=task_id)
    if not task["template_paused"]:
        await set_tasks_paused(tx, [task_id], paused=False)
    return True


async def _pause_target(tx: Session, target: PauseTarget, act: AuditNote) -> Pause:
    await _require_target_exists(tx, target)
    pause, new = await _add_or_find_pause(tx, target, act)
    if new:
        await _audit_pause(tx, target, act, "pause", "running", "paused")
        if target.kind is PauseKind.TEMPLATE:
            await tx.fetch_all(
                "sync_paused_flag_of_templates", namespace=target.namespace, name=target.name
            )
    return pause


async def _resume_target(tx: Session, target: PauseTarget, act: AuditNote) -> bool:
    await _require_target_exists(tx, target)
    if not await tx.fetch_all("delete_pause", **target._asdict()):
        return False
    await _audit_pause(tx, target, act, "resume", "paused", "running")
    if target.kind is PauseKind.TEMPLATE:
        await tx.fetch_all(
            "sync_paused_flag_of_templates", namespace=target.namespace, name=target.name
        )
    else:
        handler = target.name or None
        await tx.fetch_all("restart_queue_timeouts", namespace=target.namespace, handler=handler)
        await tx.call_function("wake_workers")
    return True


async def _add_or_find_pause(
    tx: Session, target: PauseTarget, act: AuditNote
) -> tuple[Pause, bool]:
    """Add a pause; return it, or the existing one, and whether it is new."""
    added = await tx.fetch_one("add_pause", **target._asdict(), actor=act.actor, reason=act.reason)
    row = added or await tx.fetch_one("find_pause", **target._asdict())
    if row is None:  # ended by another transaction meanwhile
        return await _add_or_find_pause(tx, target, act)
    return tx.read.parse_pause(row), added is not None


async def _audit_pause(
    tx: Session, target: PauseTarget, act: AuditNote, verb: str, before: str, after: str
) -> None:
    """Add a pause or its end to the team audit log."""
    space, name = target.namespace, target.name
    subject = {
        PauseKind.TEMPLATE: f"{space}.{name}",
        PauseKind.QUEUE: f"queue {name}",
        PauseKind.NAMESPACE: space,
    }[target.kind]
    await add_team_audit_entry(
        tx, act, f"{verb}_{target.kind}", subject, before, after, namespace=space
    )


async def _require_target_exists(tx: Session, target: PauseTarget) -> None:
    """Raise NotFound unless the template, the queue or the namespace exists."""
    space, name = target.namespace, target.name
    if target.kind is PauseKind.TEMPLATE:
        if await tx.fetch_one("template_exists", namespace=space, name=name) is None:
            raise NotFound(f"template {space}.{name} not found")
    elif target.kind is PauseKind.QUEUE:
        if await tx.fetch_one("get_queue_weight", namespace=space, handler=name) is None:
            raise await _unknown_queue_error(tx, space, name)
    elif space not in {row["namespace"] for row in await tx.fetch_all("list_namespaces")}:
        raise NotFound(f"namespace {space} not found: it has neither a policy nor a template")


async def _unknown_queue_error(tx: Session, namespace: str, handler: str) -> NotFound:
    """Return the error for an unknown queue, with the handler that was probably meant."""
    rows = await tx.fetch_all("list_queues", after=0)
    known = sorted({row["handler"] for row in rows if row["namespace"] == namespace})
    ends = [name for name in known if name.endswith(f".{handler}")]
    hint = f"; did you mean {ends[0]!r}?" if len(ends) == 1 else did_you_mean(handler, known)
    return NotFound(f"no template of namespace {namespace} uses the handler {handler!r}{hint}")
