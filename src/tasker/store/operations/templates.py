"""Registering and reading templates."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from tasker import codec
from tasker.errors import NotFound, TaskerError
from tasker.model import (
    NO_QUEUE,
    AccessChannel,
    Queue,
    QueueId,
    StoredTemplate,
    Template,
    TemplateId,
    TemplateName,
)
from tasker.store import registry
from tasker.store.operations.schedule_rows import apply_declared_schedules
from tasker.store.operations.teams import lock_template_versions, read_policy
from tasker.store.protocol import AuditNote, RegisterTemplateResult
from tasker.store.rows import Row, RowReader
from tasker.store.session import Session, TransactionalStore
from tasker.teams import rules

_LARGE_DOCUMENT = 32 << 10  #: characters of templates that are parsed off the event loop


class _UnparsedTemplates(NamedTuple):
    """Rows of templates that are read in a transaction and parsed after it."""

    reader: RowReader
    rows: Sequence[Row]

    async def parse(self) -> list[StoredTemplate]:
        """Return the templates; many steps are parsed off the event loop."""
        if sum(len(row["document"]) for row in self.rows) <= _LARGE_DOCUMENT:
            return self._parse_all()
        return await asyncio.to_thread(self._parse_all)

    def _parse_all(self) -> list[StoredTemplate]:
        return [self.reader.parse_template(row) for row in self.rows]


class _RegisteredRows(NamedTuple):
    """The rows of registered templates."""

    rows: _UnparsedTemplates
    created: Sequence[bool]


class Templates(TransactionalStore):
    """Registering and reading templates."""

    async def register_template(
        self,
        template: Template,
        *,
        registered_by: str,
        replace: bool = False,
        via: AccessChannel | None = None,
    ) -> RegisterTemplateResult:
        (registered,) = await self.register_templates(
            [template], registered_by=registered_by, replace=replace, via=via
        )
        return registered

    async def register_templates(
        self,
        templates: Sequence[Template],
        *,
        registered_by: str,
        replace: bool = False,
        via: AccessChannel | None = None,
    ) -> list[RegisterTemplateResult]:
        if not templates:
            return []

        def make_template_rows() -> list[registry.TemplateRow]:
            return [registry.TemplateRow.of_template(template) for template in templates]

        rows = await asyncio.to_thread(make_template_rows)
        act = AuditNote(actor=registered_by, via=via)
        written = None
        while written is None:  # another process was faster: compare with its content
            written = await self._in_write_transaction(
                lambda tx: _register_rows(tx, rows, act, replace=replace)
            )
        stored = await written.rows.parse()
        return [RegisterTemplateResult(*pair) for pair in zip(stored, written.created, strict=True)]

    async def get_template(self, name: TemplateName) -> StoredTemplate:
        stored = await self._read_templates("get_approved_template", **name._asdict())
        if not stored:
            raise registry.unknown_template_error(name)
        return stored[0]

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        stored = await self._read_templates("templates_by_id", ids=[template_id])
        if not stored:
            raise NotFound(f"template with the id {template_id} not found")
        return stored[0]

    async def list_approved_templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        return await self._read_templates("list_approved_templates", namespace=namespace, name=name)

    async def _read_templates(self, statement: str, /, **values: object) -> list[StoredTemplate]:
        async def fetch_templates(tx: Session) -> _UnparsedTemplates:
            return _UnparsedTemplates(tx.read, await tx.fetch_all(statement, **values))

        return await (await self._in_read_transaction(fetch_templates)).parse()

    async def list_approved_versions(self, namespace: str, name: str) -> list[str]:
        rows = await self._fetch_all("list_approved_versions", namespace=namespace, name=name)
        return [row["version"] for row in rows]

    async def list_queues(self, *, after: QueueId = NO_QUEUE) -> list[Queue]:
        return await self._in_read_transaction(lambda tx: list_queues_after(tx, after))


async def list_queues_after(tx: Session, after: QueueId) -> list[Queue]:
    """List queues by id, beyond `after`."""
    rows = await tx.fetch_all("list_queues", after=after)
    return [Queue(*(row[field] for field in Queue._fields)) for row in rows]


async def find_template_ids(
    tx: Session,
    namespace: str | None,
    name: str | None,
    version: str | None,
    *,
    visible: Collection[str] | None,
) -> list[int]:
    """List the ids of the templates with a name, including replaced ones."""
    rows = await tx.fetch_all(
        "find_template_ids",
        namespace=namespace,
        name=name,
        version=version,
        visible=None if visible is None else sorted(visible),
    )
    return [row["id"] for row in rows]


async def creation_rejected_error(tx: Session, templates: Collection[TemplateId]) -> TaskerError:
    """Return the error for creating tasks if one of the templates accepts no tasks."""
    for template_id in sorted(templates):
        row = await tx.fetch_one("template_status", id=template_id)
        if row is None:
            break
        version = tx.read.parse_template_version(row)
        if version.status is not rules.APPROVED:
            return rules.not_approved_error(version, await read_policy(tx, version.namespace))
    return NotFound("the template id of one of the tasks is not registered")


async def _register_rows(
    tx: Session, rows: Sequence[registry.TemplateRow], act: AuditNote, *, replace: bool
) -> _RegisteredRows | None:
    """Register templates; return None if another process has just registered one of them."""
    await tx.fetch_all("lock_queues")
    for namespace in {row.name.namespace for row in rows}:
        queues = {queue for row in rows if row.name.namespace == namespace for queue in row.queues}
        documents = [queue._asdict() for queue in sorted(queues)]
        await tx.fetch_all("add_queues", namespace=namespace, queues=codec.dump_rows(documents))
    stored: dict[int, Row] = {}
    created: set[int] = set()
    for indexes in _group_by_distinct_names(rows):
        plans = dict(
            zip(
                indexes,
                await _plan_registrations(tx, [rows[index] for index in indexes], replace=replace),
                strict=True,
            )
        )
        new = [index for index, plan in plans.items() if plan.same is None]
        added = await _add_templates(tx, [(rows[index], plans[index]) for index in new], act)
        if added is None:
            return None
        stored |= zip(new, added, strict=True)
        created.update(new)
        if same := {index: plan.same for index, plan in plans.items() if plan.same is not None}:
            known = await tx.fetch_all("templates_by_id", ids=[*same.values()])
            by_id = {row["id"]: row for row in known}
            stored |= {index: by_id[template_id] for index, template_id in same.items()}
    names = {rows[index].name[:2] for index in created}
    for namespace, template in names & await _templates_with_schedules(tx, rows):
        await apply_declared_schedules(tx, namespace, template, act)
    if created:
        await tx.call_function("wake_workers")  # a worker may serve the new queues
    order = range(len(rows))
    return _RegisteredRows(
        _UnparsedTemplates(tx.read, [stored[index] for index in order]),
        [index in created for index in order],
    )


def _group_by_distinct_names(rows: Sequence[registry.TemplateRow]) -> Iterator[list[int]]:
    """Divide rows into groups without duplicate names; yield their indexes."""
    left = list(range(len(rows)))
    while left:
        first = {rows[index].name: index for index in reversed(left)}
        yield sorted(first.values())
        left = [index for index in left if first[rows[index].name] != index]


async def _plan_registrations(
    tx: Session, rows: Sequence[registry.TemplateRow], *, replace: bool
) -> list[rules.RegistrationPlan]:
    """Lock the versions under the names of templates, and decide what registering them does."""
    policies = {
        namespace: await read_policy(tx, namespace)
        for namespace in {row.name.namespace for row in rows}
    }
    versions = await lock_template_versions(tx, [row.name for row in rows])
    plans = []
    for row in rows:
        policy = policies[row.name.namespace]
        plan = rules.plan_registration(
            row.name, row.digest, versions[row.name], policy, replace=replace
        )
        if plan.same is None:
            rules.check_http_hosts(row.name, row.http_hosts, policy)
        plans.append(plan)
    return plans


async def _templates_with_schedules(
    tx: Session, rows: Sequence[registry.TemplateRow]
) -> set[tuple[str, str]]:
    """Return namespaces and names of templates that declare schedules now or did before."""
    spaces = sorted({row.name.namespace for row in rows})
    known = await tx.fetch_all("templates_with_schedules", namespaces=spaces)
    declaring = {row.name[:2] for row in rows if row.has_schedules}
    return declaring | {(row["namespace"], row["template"]) for row in known}


async def _add_templates(
    tx: Session,
    planned: Sequence[tuple[registry.TemplateRow, rules.RegistrationPlan]],
    act: AuditNote,
) -> list[Row] | None:
    """Add templates whose queues exist; return None if another process was faster."""
    if not planned:
        return []
    for _, plan in planned:
        for old in plan.replaces:
            await tx.fetch_all("mark_template_replaced", id=old)
    documents = [
        {
            **row.name._asdict(),
            "digest": row.digest,
            "document": row.document,
            "sinks": row.sinks,
            "retention": row.retention,
            "status": plan.status,
            "compensation_node": row.compensation_node,
            "compensates_on": row.compensates_on,
            "compensation_hold": row.compensation_hold,
            "end_events": row.end_events,
        }
        for row, plan in planned
    ]
    added = await tx.fetch_all(
        "add_templates", registered_by=act.actor, templates=codec.dump_rows(documents)
    )
    if len(added) < len(planned):
        return None
    by_name = {TemplateName(row["namespace"], row["name"], row["version"]): row for row in added}
    graphs = [
        {
            "template_id": by_name[row.name]["id"],
            "namespace": row.name.namespace,
            "steps": row.steps,
        }
        for row, _ in planned
    ]
    await tx.fetch_all("add_template_steps", graphs=codec.dump_rows(graphs))
    registrations = [
        {
            "namespace": row.name.namespace,
            "subject": str(row.name),
            "before": plan.before,
            "after": plan.status,
        }
        for row, plan in planned
    ]
    await tx.fetch_all(
        "audit_template_registrations",
        actor=act.actor,
        reason=act.reason,
        via=act.via,
        registrations=codec.dump_rows(registrations),
    )
    return [by_name[row.name] for row, _ in planned]
