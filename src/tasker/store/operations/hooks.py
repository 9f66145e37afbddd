"""Provider hooks of namespaces."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from tasker.errors import NotFound
from tasker.hooks import (
    HookMessageKind,
    HookWithSecret,
    ProviderHook,
    SignatureScheme,
    check_hook_and_secret,
)
from tasker.store.operations.teams import add_team_audit_entry
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row, RowReader
from tasker.store.session import Session, TransactionalStore


class Hooks(TransactionalStore):
    """Provider hooks of namespaces."""

    async def put_hook(self, hook: ProviderHook, secret: str, act: AuditNote) -> ProviderHook:
        check_hook_and_secret(hook, secret)

        async def put_and_audit_hook(tx: Session) -> ProviderHook:
            place = {"namespace": hook.namespace, "name": hook.name}
            before = await tx.fetch_one("find_hook", **place)
            (row,) = await tx.fetch_all(
                "put_hook",
                **place,
                scheme=hook.scheme.value,
                header=hook.header,
                secret=secret,
                target=hook.target.value,
                sends=hook.sends,
                key=hook.key,
                id=hook.id,
                condition=hook.when,
                actor=act.actor,
            )
            stored = _parse_hook(tx.read, row)
            old = None if before is None else _hook_audit_document(_parse_hook(tx.read, before))
            subject = f"hook {hook.namespace}.{hook.name}"
            await add_team_audit_entry(
                tx,
                act,
                "put_hook",
                subject,
                old,
                _hook_audit_document(stored),
                namespace=hook.namespace,
            )
            return stored

        return await self._in_write_transaction(put_and_audit_hook)

    async def delete_hook(self, namespace: str, name: str, act: AuditNote) -> None:
        async def delete_and_audit_hook(tx: Session) -> None:
            rows = await tx.fetch_all("delete_hook", namespace=namespace, name=name)
            if not rows:
                raise NotFound(f"hook {namespace}.{name} not found")
            document = _hook_audit_document(_parse_hook(tx.read, rows[0]))
            subject = f"hook {namespace}.{name}"
            await add_team_audit_entry(
                tx, act, "delete_hook", subject, document, None, namespace=namespace
            )

        await self._in_write_transaction(delete_and_audit_hook)

    async def list_hooks(
        self, *, namespace: str | None = None, visible: Collection[str] | None = None
    ) -> list[ProviderHook]:
        async def read_hooks(tx: Session) -> list[ProviderHook]:
            spaces = None if visible is None else list(visible)
            rows = await tx.fetch_all("list_hooks", namespace=namespace, visible=spaces)
            return [_parse_hook(tx.read, row) for row in rows]

        return await self._in_read_transaction(read_hooks)

    async def find_hook_with_secret(self, namespace: str, name: str) -> HookWithSecret | None:
        async def read_hook_with_secret(tx: Session) -> HookWithSecret | None:
            row = await tx.fetch_one("find_hook", namespace=namespace, name=name)
            if row is None:
                return None
            return HookWithSecret(hook=_parse_hook(tx.read, row), secret=row["secret"])

        return await self._in_read_transaction(read_hook_with_secret)


def _parse_hook(read: RowReader, row: Row) -> ProviderHook:
    return ProviderHook(
        namespace=row["namespace"],
        name=row["name"],
        scheme=SignatureScheme(row["scheme"]),
        header=row["header"],
        target=HookMessageKind(row["target"]),
        sends=row["sends"],
        key=row["key"],
        id=row["id"],
        when=row["condition"],
        updated_by=row["updated_by"],
        updated_at=read.instant(row["updated_at"]),
    )


def _hook_audit_document(hook: ProviderHook) -> dict[str, Any]:
    """Return the form in which the audit log stores a hook, without its secret."""
    columns = asdict(hook)
    for name in ("namespace", "name", "updated_by", "updated_at"):
        del columns[name]
    return columns
