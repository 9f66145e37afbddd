"""Limits: the gates of keys, and the limits that operators set for keys and patterns."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tasker import codec
from tasker.errors import NotFound
from tasker.model import (
    LimitInfo,
    LimitKey,
    LimitSetting,
    LimitValues,
    NewTask,
    Rate,
    Step,
    TaskId,
    TemplateId,
)
from tasker.store.operations.teams import add_team_audit_entry
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row
from tasker.store.session import Session, TransactionalStore

_CACHED = 10_000  #: gates whose ids a process remembers
_CACHED_FOR = 3_600.0  #: seconds; no gate is deleted within two days after its last use
_EXPLAINED = 20  #: steps of a task whose limits are explained
_NOT_DECLARED = TemplateId(0)  #: the template of gates that an operator made


class DeclaredLimit(NamedTuple):
    """The limit that a template declares for a key."""

    template_id: TemplateId
    values: LimitValues


class GateIdCache:
    """Caches the ids of gates by key and by the template that uses them."""

    def __init__(self) -> None:
        self._ids: dict[tuple[LimitKey, TemplateId], int] = {}
        self._since = time.monotonic()

    def get(self, key: LimitKey, template_id: TemplateId) -> int | None:
        """Return the id of a key's gate that has the template's limits, or None."""
        return self._ids.get((key, template_id))

    def put(self, key: LimitKey, template_id: TemplateId, gate_id: int) -> None:
        """Remember a gate."""
        now = time.monotonic()
        if len(self._ids) >= _CACHED or now - self._since > _CACHED_FOR:
            self._ids.clear()
            self._since = now
        self._ids[key, template_id] = gate_id


async def find_or_add_gates(
    tx: Session, declared: Mapping[LimitKey, DeclaredLimit]
) -> dict[LimitKey, int]:
    """Return the ids of gates; add those that are missing.

    The newest template's limit for a key applies, unless an operator has set a limit.
    """
    ids: dict[LimitKey, int] = {}
    while missing := sorted(declared.keys() - ids.keys()):
        rows = await tx.fetch_all(
            "find_limit_gates",
            namespaces=[key.namespace for key in missing],
            keys=[key.key for key in missing],
        )
        rows_by_key = {LimitKey(row["namespace"], row["key"]): row for row in rows}
        for key in missing:
            if key not in rows_by_key:
                await _add_gate(tx, key, declared[key])
                continue
            row = rows_by_key[key]
            ids[key] = row["id"]
            if row["declared_by"] < declared[key].template_id:
                await _update_declared_limit(tx, row["id"], key, declared[key])
            elif row["unused"]:
                await tx.fetch_all("touch_limit_gate", id=row["id"])
    return ids


async def _add_gate(tx: Session, key: LimitKey, declared: DeclaredLimit) -> None:
    """Add a gate, unless another transaction has just added it."""
    await tx.fetch_all(
        "add_limit_gate",
        namespace=key.namespace,
        key=key.key,
        declared=_serialize_limit_values(declared.values),
        template_id=declared.template_id,
        task_id=key.map_task_id,
        **_gate_bounds(await _read_effective_limit(tx, key, declared.values)),
    )


async def _update_declared_limit(
    tx: Session, gate_id: int, key: LimitKey, declared: DeclaredLimit
) -> None:
    document = _serialize_limit_values(declared.values)
    await tx.fetch_all(
        "store_declared_limit", id=gate_id, template_id=declared.template_id, declared=document
    )
    bounds = _gate_bounds(await _read_effective_limit(tx, key, declared.values))
    await tx.fetch_all("change_limit_gate_bounds", id=gate_id, **bounds)


async def _read_effective_limit(tx: Session, key: LimitKey, declared: LimitValues) -> LimitValues:
    """Return the bounds that apply to a key."""
    settings = await tx.fetch_all("list_limit_settings", namespace=key.namespace)
    return _apply_override(key.key, declared, [_parse_limit_setting(tx, row) for row in settings])


def _apply_override(
    key: str, declared: LimitValues, settings: Sequence[LimitSetting]
) -> LimitValues:
    setting = find_applicable_setting(key, settings)
    return declared if setting is None else declared.overridden_by(setting.values)


def find_applicable_setting(key: str, settings: Iterable[LimitSetting]) -> LimitSetting | None:
    """Return the setting that applies to a key: its own, or the one with the longest pattern."""
    matching = [setting for setting in settings if matches_limit_pattern(setting.pattern, key)]
    return max(
        matching,
        key=lambda setting: (setting.pattern == key, len(setting.pattern), setting.pattern),
        default=None,
    )


def matches_limit_pattern(pattern: str, key: str) -> bool:
    """Return whether a key matches a pattern, in which `*` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key, re.DOTALL) is not None


class Limits(TransactionalStore):
    """Implements `tasker.store.protocol.LimitStore`."""

    _gates: GateIdCache

    async def _attach_gates(
        self, tasks: Sequence[NewTask], tx: Session | None = None
    ) -> Sequence[NewTask]:
        """Return new tasks with the gates of their limits, creating missing gates.

        Args:
            tasks: The tasks.
            tx: The transaction in which the tasks are created; None: the gates have their own.
        """
        if not any(task.limits for task in tasks):
            return tasks
        gates: dict[tuple[LimitKey, TemplateId], int] = {}
        missing: dict[LimitKey, DeclaredLimit] = {}
        used = [
            (key, DeclaredLimit(task.template_id, values))
            for task in tasks
            for limits in task.limits.values()
            for key, values in limits
        ]
        for key, declared in used:
            known = self._gates.get(key, declared.template_id)
            if known is not None:
                gates[key, declared.template_id] = known
            elif key not in missing or missing[key].template_id < declared.template_id:
                missing[key] = declared
        ids: Mapping[LimitKey, int] = {}
        if missing and tx is not None:
            ids = await find_or_add_gates(tx, missing)
        elif missing:
            ids = await self._in_write_transaction(lambda own: find_or_add_gates(own, missing))
        for key, declared in used:
            if key in ids:
                gates[key, declared.template_id] = ids[key]
                if tx is None:  # else it may be rolled back
                    self._gates.put(key, declared.template_id, ids[key])
        return [replace(task, gates=_list_step_gate_ids(task, gates)) for task in tasks]

    async def set_limit(self, key: LimitKey, values: LimitValues, act: AuditNote) -> None:
        async def set_and_audit_limit(tx: Session) -> None:
            before = await _read_limit_set_for_key(tx, key)
            await tx.fetch_all(
                "set_limit",
                namespace=key.namespace,
                pattern=key.key,
                actor=act.actor,
                concurrency=values.concurrency,
                rate=str(values.rate) if values.rate else None,
                burst=values.burst,
            )
            if "*" not in key.key:
                await _add_gate(tx, key, DeclaredLimit(_NOT_DECLARED, LimitValues()))
            await self._update_matching_gates(tx, key)
            await _audit_limit_change(tx, key, act, "set_limit", before, values)

        await self._in_write_transaction(set_and_audit_limit)

    async def unset_limit(self, key: LimitKey, act: AuditNote) -> None:
        async def unset_and_audit_limit(tx: Session) -> None:
            before = await _read_limit_set_for_key(tx, key)
            if before is None:
                raise NotFound(f"no limit is set for {key.key!r} in namespace {key.namespace!r}")
            await tx.fetch_all("unset_limit", namespace=key.namespace, pattern=key.key)
            await self._update_matching_gates(tx, key)
            await _audit_limit_change(tx, key, act, "unset_limit", before, None)

        await self._in_write_transaction(unset_and_audit_limit)

    async def _update_matching_gates(self, tx: Session, key: LimitKey) -> None:
        """Change the gates whose keys match."""
        rows = await tx.fetch_all("list_limit_settings", namespace=key.namespace)
        settings = [_parse_limit_setting(tx, row) for row in rows]
        like = re.sub(r"([\\%_])", r"\\\1", key.key).replace("*", "%")
        for row in await tx.fetch_all(
            "lock_limit_gates_matching_pattern", namespace=key.namespace, pattern=like
        ):
            declared = _parse_limit_values(codec.loads(row["declared"]))
            bounds = _gate_bounds(_apply_override(row["key"], declared, settings))
            await tx.fetch_all("change_limit_gate_bounds", id=row["id"], **bounds)
        await tx.call_function("wake_workers")

    async def list_limit_settings(self, namespace: str) -> list[LimitSetting]:
        async def read_limit_settings(tx: Session) -> list[LimitSetting]:
            rows = await tx.fetch_all("list_limit_settings", namespace=namespace)
            return [_parse_limit_setting(tx, row) for row in rows]

        return await self._in_read_transaction(read_limit_settings)

    async def list_limits(
        self, namespace: str, *, after: str = "", limit: int = 100
    ) -> list[LimitInfo]:
        async def read_limits(tx: Session) -> list[LimitInfo]:
            rows = await tx.fetch_all("list_limit_settings", namespace=namespace)
            settings = [_parse_limit_setting(tx, row) for row in rows]
            gates = await tx.fetch_all("list_limits", namespace=namespace, after=after, limit=limit)
            return [_parse_limit_info(row, settings) for row in gates]

        return await self._in_read_transaction(read_limits)


def _list_step_gate_ids(
    task: NewTask, known: Mapping[tuple[LimitKey, TemplateId], int]
) -> list[tuple[int, int, int]]:
    gates = []
    for no, limits in task.limits.items():
        ids = [known[key, task.template_id] for key, _ in limits]
        gates.append((no, ids[0] if len(ids) > 1 else 0, ids[-1]))
    return gates


async def add_limit_reasons(
    tx: Session, task_id: TaskId, steps: Sequence[Step], limited: Sequence[int]
) -> list[Step]:
    """Return steps of a task, the first ones in `limited` with the limits that they wait for."""
    chosen = limited[:_EXPLAINED]
    rows = await tx.fetch_all(
        "gate_states_of_limited_steps", tasks=[task_id] * len(chosen), nos=chosen
    )
    reasons = {row["no"]: reason for row in rows if (reason := _explain_gate(row))}
    return [replace(step, limit_reason=reasons.get(step.no)) for step in steps]


def _explain_gate(row: Row) -> str | None:
    """Return why a gate does not let a step through, or None if it does."""
    ahead = f"steps ahead: {row['before']:,}"
    if row["concurrency"] == 0:
        return f"{row['key']} is limited to 0 steps; {ahead}"
    if row["concurrency"] is not None and row["running"] >= row["concurrency"]:
        running = f"{row['running']:,} of {row['concurrency']:,} steps running"
        return f"{row['key']} has {running}; {ahead}"
    if row["has_rate"] and row["tokens"] < 1:
        return f"{row['key']} has reached its rate limit; {ahead}"
    return None


async def _read_limit_set_for_key(tx: Session, key: LimitKey) -> LimitValues | None:
    for row in await tx.fetch_all("list_limit_settings", namespace=key.namespace):
        if row["pattern"] == key.key:
            return _parse_limit_setting(tx, row).values
    return None


async def _audit_limit_change(
    tx: Session,
    key: LimitKey,
    act: AuditNote,
    action: str,
    before: LimitValues | None,
    after: LimitValues | None,
) -> None:
    facts = [None if values is None else values.to_json() for values in (before, after)]
    namespace = key.namespace or None
    await add_team_audit_entry(tx, act, action, f"limit {key.key}", *facts, namespace=namespace)


def _parse_limit_setting(tx: Session, row: Row) -> LimitSetting:
    return LimitSetting(
        pattern=row["pattern"],
        values=LimitValues(
            concurrency=row["concurrency"],
            rate=None if row["rate"] is None else Rate.parse(row["rate"]),
            burst=row["burst"],
        ),
        updated_by=row["updated_by"],
        updated_at=tx.read.instant(row["updated_at"]),
    )


def _parse_limit_info(row: Row, settings: Sequence[LimitSetting]) -> LimitInfo:
    setting = find_applicable_setting(row["key"], settings)
    declared = _parse_limit_values(codec.loads(row["declared"]))
    return LimitInfo(
        namespace=row["namespace"],
        key=row["key"],
        values=declared if setting is None else declared.overridden_by(setting.values),
        set_by=None if setting is None else setting.pattern,
        running=row["running"],
        waiting=row["waiting"],
    )


def _parse_limit_values(document: Mapping[str, Any]) -> LimitValues:
    rate = document.get("rate")
    return LimitValues(
        concurrency=document.get("concurrency"),
        rate=None if rate is None else Rate.parse(rate),
        burst=document.get("burst"),
    )


def _serialize_limit_values(values: LimitValues) -> str:
    return codec.dumps(values.to_json())


def _gate_bounds(values: LimitValues) -> dict[str, float | None]:
    """Return the columns of a gate."""
    return {
        "concurrency": values.concurrency,
        "rate": values.rate and values.rate.per_second,
        "burst": values.burst_tokens,
    }
