"""Registering and reading templates."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from tasker.errors import NotFound, TaskerError
from tasker.model import (
    NO_QUEUE,
    JsonText,
    Queue,
    QueueId,
    StoredTemplate,
    Template,
    TemplateId,
    TemplateName,
    TemplateStatus,
)
from tasker.store import registry
from tasker.store.operations.schedule_rows import apply_declared_schedules
from tasker.store.operations.teams import add_event, lock_versions, policy_of
from tasker.store.protocol import AuditNote, Registered
from tasker.store.rows import Reader, Row
from tasker.store.session import Session, Sessions
from tasker.teams import rules
from tasker.teams.model import NamespacePolicy

_LARGE_DOCUMENT = 32 << 10  #: characters of templates that are parsed off the event loop


class _TemplateRows(NamedTuple):
    """Rows of templates that are read in a transaction and parsed after it."""

    reader: Reader
    rows: Sequence[Row]

    async def parse(self) -> list[StoredTemplate]:
        """Return the templates; many steps are parsed off the event loop."""
        if sum(len(row["document"]) for row in self.rows) <= _LARGE_DOCUMENT:
            return self._parse()
        return await asyncio.to_thread(self._parse)

    def _parse(self) -> list[StoredTemplate]:
        return [self.reader.template(row) for row in self.rows]


class _Written(NamedTuple):
    """The rows of registered templates."""

    rows: _TemplateRows
    created: Sequence[bool]


class Templates(Sessions):
    """Registering and reading templates."""

    async def register_template(
        self, template: Template, *, registered_by: str, replace: bool = False
    ) -> Registered:
        (registered,) = await self.register_templates(
            [template], registered_by=registered_by, replace=replace
        )
        return registered

    async def register_templates(
        self, templates: Sequence[Template], *, registered_by: str, replace: bool = False
    ) -> list[Registered]:
        if not templates:
            return []

        def make_rows() -> list[registry.TemplateRow]:
            return [registry.TemplateRow.of_template(template) for template in templates]

        rows = await asyncio.to_thread(make_rows)
        act = AuditNote(actor=registered_by)
        written = None
        while written is None:  # another process was faster: compare with its content
            written = await self._write(lambda tx: _register(tx, rows, act, replace=replace))
        stored = await written.rows.parse()
        return [Registered(*pair) for pair in zip(stored, written.created, strict=True)]

    async def template(self, name: TemplateName) -> StoredTemplate:
        stored = await self._templates("template", **name._asdict())
        if not stored:
            raise registry.unknown_template_error(name)
        return stored[0]

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        stored = await self._templates("template_by_id", id=template_id)
        if not stored:
            raise NotFound(f"template with the id {template_id} not found")
        return stored[0]

    async def templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        return await self._templates("templates", namespace=namespace, name=name)

    async def _templates(self, statement: str, /, **values: object) -> list[StoredTemplate]:
        async def read(tx: Session) -> _TemplateRows:
            return _TemplateRows(tx.read, await tx.all(statement, **values))

        return await (await self._read(read)).parse()

    async def versions(self, namespace: str, name: str) -> list[str]:
        rows = await self._all("versions", namespace=namespace, name=name)
        return [row["version"] for row in rows]

    async def queues(self, *, after: QueueId = NO_QUEUE) -> list[Queue]:
        return await self._read(lambda tx: queues_after(tx, after))


async def queues_after(tx: Session, after: QueueId) -> list[Queue]:
    """List queues by id, beyond `after`."""
    rows = await tx.all("queues", after=after)
    return [Queue(*(row[field] for field in Queue._fields)) for row in rows]


async def template_ids(
    tx: Session,
    namespace: str | None,
    name: str | None,
    version: str | None,
    *,
    visible: Collection[str] | None,
) -> list[int]:
    """List the ids of the templates of a name, replaced ones included."""
    rows = await tx.all(
        "template_ids",
        namespace=namespace,
        name=name,
        version=version,
        visible=None if visible is None else sorted(visible),
    )
    return [row["id"] for row in rows]


async def refusal_of_creation(tx: Session, templates: Collection[TemplateId]) -> TaskerError:
    """Return the error for creating tasks if one of the templates accepts no tasks."""
    for template_id in sorted(templates):
        row = await tx.one("template_status", id=template_id)
        if row is None:
            break
        version = tx.read.template_version(row)
        if version.status is not rules.APPROVED:
            return rules.not_approved_error(version, await policy_of(tx, version.namespace))
    return NotFound("one of the tasks names a template id that is not registered")


async def _register(
    tx: Session, rows: Sequence[registry.TemplateRow], act: AuditNote, *, replace: bool
) -> _Written | None:
    """Register templates; return None if another process has just registered one of them."""
    await tx.all("lock_queues")
    for namespace in {row.name.namespace for row in rows}:
        queues = _joined(row.queues for row in rows if row.name.namespace == namespace)
        await tx.all("add_queues", namespace=namespace, queues=queues)
    policies: dict[str, NamespacePolicy | None] = {}
    stored: list[Row] = []
    created: list[bool] = []
    for row in rows:
        namespace = row.name.namespace
        if namespace not in policies:
            policies[namespace] = await policy_of(tx, namespace)
        versions = await lock_versions(tx, row.name)
        plan = rules.plan_registration(
            row.name, row.digest, versions, policies[namespace], replace=replace
        )
        created.append(plan.same is None)
        if plan.same is not None:
            stored += await tx.all("template_by_id", id=plan.same)
            continue
        rules.check_http_hosts(row.name, row.http_hosts, policies[namespace])
        for old in plan.replaces:
            await tx.all("replace_template", id=old)
        added = await _add_template(tx, row, act.actor, plan.status)
        if added is None:
            return None
        stored.append(added)
        await add_event(tx, act, "register_template", row.name, plan.before, plan.status)
    for namespace, template in {
        row.name[:2] for row, is_new in zip(rows, created, strict=True) if is_new
    }:
        await apply_declared_schedules(tx, namespace, template, act)
    if any(created):
        await tx.call("wake")  # a worker may serve the new queues
    return _Written(_TemplateRows(tx.read, stored), created)


def _joined(lists: Iterable[JsonText]) -> JsonText:
    """Join JSON lists that have elements into one."""
    return JsonText(f"[{','.join(text[1:-1] for text in lists)}]")


async def _add_template(
    tx: Session, row: registry.TemplateRow, registered_by: str, status: TemplateStatus
) -> Row | None:
    """Add a template whose queues exist; return None if another process was faster."""
    added = await tx.one(
        "add_template",
        **row.name._asdict(),
        digest=row.digest,
        document=row.document,
        sinks=row.sinks,
        retention=row.retention,
        registered_by=registered_by,
        status=status,
    )
    if added is None:
        return None
    names = {"template_id": added["id"], "namespace": row.name.namespace}
    await tx.all("add_template_steps", **names, steps=row.steps)
    return added
