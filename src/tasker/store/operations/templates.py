"""Registering and reading templates."""

import asyncio
from collections.abc import Collection

from tasker import codec
from tasker.errors import NotFound, TaskerError
from tasker.model import (
    Queue,
    StoredTemplate,
    Template,
    TemplateId,
    TemplateName,
    TemplateStatus,
)
from tasker.store import registry
from tasker.store.operations.teams import add_event, lock_versions, policy_of
from tasker.store.protocol import AuditNote, Registered
from tasker.store.session import Session, Sessions
from tasker.teams import rules

_LARGE = 200  #: steps of a template that is prepared off the event loop


class Templates(Sessions):
    """Registering and reading templates."""

    async def register_template(
        self, template: Template, *, registered_by: str, replace: bool = False
    ) -> Registered:
        make = registry.TemplateRow.of
        large = len(template.steps) > _LARGE
        row = await asyncio.to_thread(make, template) if large else make(template)
        act = AuditNote(actor=registered_by)
        registered = None
        while registered is None:  # another process was first: compare with what it stored
            registered = await self._write(lambda tx: _register(tx, row, act, replace=replace))
        return registered

    async def template(self, name: TemplateName) -> StoredTemplate:
        async def read(tx: Session) -> StoredTemplate:
            row = await tx.one("template", **name._asdict())
            if row is None:
                raise registry.unknown(name)
            return tx.read.template(row)

        return await self._read(read)

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        async def read(tx: Session) -> StoredTemplate:
            row = await tx.one("template_by_id", id=template_id)
            if row is None:
                raise NotFound(f"there is no template with the id {template_id}")
            return tx.read.template(row)

        return await self._read(read)

    async def templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        async def read(tx: Session) -> list[StoredTemplate]:
            rows = await tx.all("templates", namespace=namespace, name=name)
            return [tx.read.template(row) for row in rows]

        return await self._read(read)

    async def versions(self, namespace: str, name: str) -> list[str]:
        rows = await self._all("versions", namespace=namespace, name=name)
        return [row["version"] for row in rows]

    async def queues(self) -> list[Queue]:
        return await self._read(all_queues)


async def all_queues(tx: Session) -> list[Queue]:
    """List all queues."""
    rows = await tx.all("queues")
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
    """Return the error for creating tasks if one of the templates takes no tasks."""
    for template_id in sorted(templates):
        row = await tx.one("template_status", id=template_id)
        if row is None:
            break
        version = tx.read.template_version(row)
        if version.status is not rules.APPROVED:
            return rules.not_approved_error(version, await policy_of(tx, version.name.namespace))
    return NotFound("one of the tasks names a template id that is not registered")


async def _register(
    tx: Session, row: registry.TemplateRow, act: AuditNote, *, replace: bool
) -> Registered | None:
    """Register a template; None if another process registered the version meanwhile."""
    versions = await lock_versions(tx, row.name)
    policy = await policy_of(tx, row.name.namespace)
    plan = rules.plan_registration(row.name, row.digest, versions, policy, replace=replace)
    if plan.same is not None:
        (same,) = await tx.all("template_by_id", id=plan.same)
        return Registered(tx.read.template(same), created=False)
    for old in plan.replaces:
        await tx.all("replace_template", id=old)
    created = await _add_template(tx, row, act.actor, plan.status)
    if created is None:
        return None
    await add_event(tx, act, "register_template", row.name, plan.before, plan.status)
    await tx.call("wake")  # a worker may serve the new queues
    return Registered(created, created=True)


async def _add_template(
    tx: Session, row: registry.TemplateRow, registered_by: str, status: TemplateStatus
) -> StoredTemplate | None:
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
    steps = codec.orjson_text([step._asdict() for step in row.steps])
    namespace = row.name.namespace
    await tx.all("add_queues", namespace=namespace, steps=steps)
    await tx.all("add_template_steps", template_id=added["id"], namespace=namespace, steps=steps)
    return tx.read.template(added)
