"""Registering and reading templates."""

import sqlite3

from tasker.errors import NotFound
from tasker.model import (
    Queue,
    StoredTemplate,
    Template,
    TemplateId,
    TemplateName,
    TemplateStatus,
)
from tasker.store import registry
from tasker.store.protocol import AuditNote, Registered
from tasker.store.sqlite.driver import READ, Driver, execute, fetch_one, json_text
from tasker.store.sqlite.teams import add_event, policy_of, standing
from tasker.teams import rules


class Templates(Driver):
    """Registering and reading templates."""

    async def register_template(
        self, template: Template, *, registered_by: str, replace: bool = False
    ) -> Registered:
        row = registry.TemplateRow.of(template)

        act = AuditNote(actor=registered_by)

        def register(on: sqlite3.Connection) -> Registered:
            there = standing(on, row.name)
            policy = policy_of(on, row.name.namespace)
            plan = rules.plan_registration(row.name, row.digest, there, policy, replace=replace)
            if plan.same is not None:
                found = fetch_one(on, "template_by_id", id=plan.same)
                return Registered(READ.template(found), created=False)
            now = self._now()
            for old in plan.replaces:
                execute(on, "replace_template", id=old, now=now)
            created = self._add_template(on, row, registered_by, plan.status)
            add_event(on, act, "register_template", row.name, plan.before, plan.status, now)
            return Registered(created, created=True)

        registered = await self._write(register)
        self._work.set()  # a worker may serve the new queues
        return registered

    def _add_template(
        self,
        on: sqlite3.Connection,
        row: registry.TemplateRow,
        registered_by: str,
        status: TemplateStatus,
    ) -> StoredTemplate:
        added = fetch_one(
            on,
            "add_template",
            **row.name._asdict(),
            digest=row.digest,
            document=row.document,
            sinks=row.sinks,
            registered_by=registered_by,
            status=status,
            now=self._now(),
        )
        namespace = row.name.namespace
        steps = json_text([tuple(step) for step in row.steps])
        execute(on, "add_queues", namespace=namespace, steps=steps)
        execute(on, "add_template_steps", template_id=added[0], namespace=namespace, steps=steps)
        return READ.template(added)

    async def template(self, name: TemplateName) -> StoredTemplate:
        row = await self._first("template", **name._asdict())
        if row is None:
            raise registry.unknown(name)
        return READ.template(row)

    async def template_by_id(self, template_id: TemplateId) -> StoredTemplate:
        row = await self._first("template_by_id", id=template_id)
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
