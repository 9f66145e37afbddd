"""Registering and reading templates."""

from tasker.errors import (
    NotFound,
)
from tasker.model import (
    Queue,
    StoredTemplate,
    Template,
    TemplateId,
    TemplateName,
    TemplateStatus,
)
from tasker.store import registry
from tasker.store.postgres.address import Connection
from tasker.store.postgres.driver import READ, Driver, execute, fetch_one
from tasker.store.postgres.teams import add_event, policy_of, standing
from tasker.store.protocol import AuditNote, Registered
from tasker.teams import rules


class Templates(Driver):
    """Registering and reading templates."""

    async def register_template(
        self, template: Template, *, registered_by: str, replace: bool = False
    ) -> Registered:
        row = registry.TemplateRow.of(template)
        act = AuditNote(actor=registered_by)
        async with self._transaction() as connection:
            there = await standing(connection, row.name)
            policy = await policy_of(connection, row.name.namespace)
            plan = rules.plan_registration(row.name, row.digest, there, policy, replace=replace)
            if plan.same is not None:
                found = await fetch_one(connection, "template_by_id", id=plan.same)
                return Registered(READ.template(found), created=False)
            for old in plan.replaces:
                await execute(connection, "replace_template", id=old)
            created = await self._add_template(connection, row, registered_by, plan.status)
            if created is not None:
                await add_event(
                    connection, act, "register_template", row.name, plan.before, plan.status
                )
        if created is None:  # another process was first: compare with what it stored
            return await self.register_template(
                template, registered_by=registered_by, replace=replace
            )
        return Registered(created, created=True)

    async def _add_template(
        self,
        connection: Connection,
        row: registry.TemplateRow,
        registered_by: str,
        status: TemplateStatus,
    ) -> StoredTemplate | None:
        added = await fetch_one(
            connection,
            "add_template",
            **row.name._asdict(),
            digest=row.digest,
            document=row.document,
            sinks=row.sinks,
            registered_by=registered_by,
            status=status,
        )
        if added is None:
            return None
        nos, names, handlers, requirements, pending_parents, children = zip(*row.steps, strict=True)
        await execute(
            connection,
            "add_queues",
            namespace=row.name.namespace,
            handlers=handlers,
            requirements=requirements,
        )
        await execute(
            connection,
            "add_template_steps",
            template_id=added["id"],
            namespace=row.name.namespace,
            nos=nos,
            names=names,
            handlers=handlers,
            requirements=requirements,
            pending_parents=pending_parents,
            children=["{" + ",".join(map(str, numbers)) + "}" for numbers in children],
        )
        return READ.template(added)

    async def template(self, name: TemplateName) -> StoredTemplate:
        row = await self._one("template", **name._asdict())
        if row is None:
            raise registry.unknown(name)
        return READ.template(row)

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        row = await self._one("template_by_id", id=template_id)
        if row is None:
            raise NotFound(f"there is no template with the id {template_id}")
        return READ.template(row)

    async def templates(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[StoredTemplate]:
        rows = await self._all("templates", namespace=namespace, name=name)
        return [READ.template(row) for row in rows]

    async def versions(self, namespace: str, name: str) -> list[str]:
        return [row[0] for row in await self._all("versions", namespace=namespace, name=name)]

    async def queues(self) -> list[Queue]:
        return [Queue(*row) for row in await self._all("queues")]
