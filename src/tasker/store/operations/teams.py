"""Namespaces, their policies, decisions about template versions, API keys and the audit log."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from tasker import codec
from tasker.errors import WrongStatus
from tasker.model import JsonObject, TemplateName, TemplateVersion
from tasker.store.operations.schedule_rows import apply_declared_schedules
from tasker.store.protocol import AuditNote
from tasker.store.session import Session, TransactionalStore, require_storable_strings
from tasker.teams import rules
from tasker.teams.checks import check_policy
from tasker.teams.model import (
    ApiKey,
    ApiKeyWithDigest,
    NamespaceInfo,
    NamespacePolicy,
    NewApiKey,
    TeamAuditEntry,
    UserSession,
)
from tasker.teams.rules import VersionWithDigest


class Teams(TransactionalStore):
    """Implements `tasker.store.protocol.TeamStore`."""

    async def list_namespaces(self) -> list[NamespaceInfo]:
        async def read_namespaces(tx: Session) -> list[NamespaceInfo]:
            return [tx.read.parse_namespace(row) for row in await tx.fetch_all("list_namespaces")]

        return await self._in_read_transaction(read_namespaces)

    async def get_policy(self, namespace: str) -> NamespacePolicy | None:
        return await self._in_read_transaction(lambda tx: read_policy(tx, namespace))

    async def put_policy(self, policy: NamespacePolicy, act: AuditNote) -> NamespacePolicy:
        check_policy(policy)
        space = policy.namespace

        async def put_and_audit_policy(tx: Session) -> NamespacePolicy:
            rows = await tx.lock_rows("get_namespace_policy", namespace=space)
            before = tx.read.parse_policy(rows[0]) if rows else None
            if before is not None and rules.is_same_policy(before, policy):
                return before
            columns = rules.compared_policy_columns(policy)
            (row,) = await tx.fetch_all("put_policy", actor=act.actor, **columns)
            stored = tx.read.parse_policy(row)
            documents = (
                rules.policy_to_audit_document(before),
                rules.policy_to_audit_document(stored),
            )
            await add_team_audit_entry(tx, act, "put_policy", space, *documents, namespace=space)
            return stored

        return await self._in_write_transaction(put_and_audit_policy)

    # --------------------------------------------------------------- templates

    async def review_template(
        self, name: TemplateName, *, approve: bool, act: AuditNote
    ) -> TemplateVersion:
        async def approve_or_reject_version(tx: Session) -> TemplateVersion:
            versions = await _lock_versions_of_template(tx, name)
            policy = await read_policy(tx, name.namespace)
            decision = rules.plan_review(name, versions, policy, act, approve=approve)
            for old in decision.replaces:
                await tx.fetch_all("mark_template_replaced", id=old)
            action = "approve_template" if approve else "reject_template"
            return await _set_status_and_apply_schedules(
                tx, decision.version, decision.status, action, act
            )

        return await self._in_write_transaction(approve_or_reject_version)

    async def retire_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        async def retire_version(tx: Session) -> TemplateVersion:
            version = rules.find_version_to_retire_or_restore(
                name, await _lock_versions_of_template(tx, name), restore=False
            )
            return await _set_status_and_apply_schedules(
                tx, version, rules.RETIRED, "retire_template", act
            )

        return await self._in_write_transaction(retire_version)

    async def restore_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        async def restore_version(tx: Session) -> TemplateVersion:
            version = rules.find_version_to_retire_or_restore(
                name, await _lock_versions_of_template(tx, name), restore=True
            )
            return await _set_status_and_apply_schedules(
                tx, version, rules.APPROVED, "restore_template", act
            )

        return await self._in_write_transaction(restore_version)

    async def list_template_versions(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        async def read_template_versions(tx: Session) -> list[TemplateVersion]:
            rows = await tx.fetch_all("list_template_versions", namespace=namespace, name=name)
            return [tx.read.parse_template_version(row) for row in rows]

        return await self._in_read_transaction(read_template_versions)

    async def list_team_audit(
        self,
        *,
        namespace: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[TeamAuditEntry]:
        async def read_team_audit(tx: Session) -> list[TeamAuditEntry]:
            rows = await tx.fetch_all(
                "list_team_audit",
                namespace=namespace,
                visible=None if visible is None else sorted(visible),
                after=after,
                limit=limit,
            )
            return [tx.read.parse_team_audit_entry(row) for row in rows]

        return await self._in_read_transaction(read_team_audit)

    # ---------------------------------------------------------------- API keys

    async def add_api_key(self, key: NewApiKey, act: AuditNote) -> ApiKey:
        rules.check_new_api_key(key)

        async def add_and_audit_key(tx: Session) -> ApiKey:
            (row,) = await tx.fetch_all("add_api_key", created_by=act.actor, **asdict(key))
            stored = tx.read.parse_api_key(row)
            facts = rules.key_to_audit_document(stored)
            await add_team_audit_entry(tx, act, "create_api_key", f"key {key.prefix}", None, facts)
            return stored

        return await self._in_write_transaction(add_and_audit_key)

    async def find_api_key(self, prefix: str) -> ApiKeyWithDigest | None:
        async def read_api_key(tx: Session) -> ApiKeyWithDigest | None:
            row = await tx.fetch_one("find_api_key", prefix=prefix)
            return (
                None if row is None else ApiKeyWithDigest(tx.read.parse_api_key(row), row["digest"])
            )

        return await self._in_read_transaction(read_api_key)

    async def list_api_keys(self) -> list[ApiKey]:
        async def read_api_keys(tx: Session) -> list[ApiKey]:
            return [tx.read.parse_api_key(row) for row in await tx.fetch_all("list_api_keys")]

        return await self._in_read_transaction(read_api_keys)

    async def revoke_api_key(self, prefix: str, act: AuditNote) -> ApiKey:
        async def revoke_and_audit_key(tx: Session) -> ApiKey:
            row = await tx.fetch_one("revoke_api_key", prefix=prefix)
            if row is None:
                if await tx.fetch_one("find_api_key", prefix=prefix) is None:
                    raise rules.unknown_key_error(prefix)
                raise WrongStatus(f"API key {prefix}", "revoked", "revoke", {"active"})
            revoked = tx.read.parse_api_key(row)
            facts = rules.key_to_audit_document(revoked)
            await add_team_audit_entry(tx, act, "revoke_api_key", f"key {prefix}", facts, None)
            return revoked

        return await self._in_write_transaction(revoke_and_audit_key)

    async def touch_api_key(self, prefix: str) -> None:
        await self._execute_in_transaction("touch_api_key", prefix=prefix)

    # ---------------------------------------------------------------- sessions

    async def add_session(
        self,
        digest: str,
        key_prefix: str | None = None,
        *,
        claims: JsonObject | None = None,
        lifetime: timedelta,
    ) -> UserSession:
        async def prune_expired_and_add_session(tx: Session) -> UserSession:
            await tx.fetch_all("prune_expired_sessions")
            (row,) = await tx.fetch_all(
                "add_session",
                digest=digest,
                key_prefix=key_prefix,
                claims=None if claims is None else codec.dumps(claims),
                lifetime=lifetime.total_seconds(),
            )
            return tx.read.parse_session(row)

        return await self._in_write_transaction(prune_expired_and_add_session)

    async def find_session(self, digest: str, *, idle: timedelta) -> UserSession | None:
        async def read_session(tx: Session) -> UserSession | None:
            row = await tx.fetch_one("find_session", digest=digest, idle=idle.total_seconds())
            return None if row is None else tx.read.parse_session(row)

        return await self._in_read_transaction(read_session)

    async def touch_session(self, digest: str) -> None:
        await self._execute_in_transaction("touch_session", digest=digest)

    async def end_session(self, digest: str) -> None:
        await self._execute_in_transaction("delete_session", digest=digest)


async def lock_template_versions(
    tx: Session, names: Sequence[TemplateName]
) -> Mapping[TemplateName, Sequence[VersionWithDigest]]:
    """Lock and return the versions under the names of templates, oldest first."""
    there: dict[TemplateName, list[VersionWithDigest]] = {name: [] for name in names}
    for name in names:
        require_storable_strings(name._asdict())
    documents = codec.dump_rows([name._asdict() for name in names])
    for row in await tx.lock_rows("template_versions_by_full_name", names=documents):
        version = tx.read.parse_template_version(row)
        there[version.key].append(VersionWithDigest(version, row["digest"]))
    return there


async def _lock_versions_of_template(
    tx: Session, name: TemplateName
) -> Sequence[VersionWithDigest]:
    return (await lock_template_versions(tx, [name]))[name]


async def read_policy(tx: Session, namespace: str) -> NamespacePolicy | None:
    row = await tx.fetch_one("get_namespace_policy", namespace=namespace)
    return None if row is None else tx.read.parse_policy(row)


async def add_team_audit_entry(
    tx: Session,
    act: AuditNote,
    action: str,
    subject: TemplateName | str,
    before: Mapping[str, Any] | str | float | None,
    after: Mapping[str, Any] | str | float | None,
    *,
    namespace: str | None = None,
) -> None:
    """Add an action to the team audit log; an action on a template belongs to the template's
    namespace."""
    await tx.fetch_all(
        "add_team_audit_entry",
        namespace=subject.namespace if isinstance(subject, TemplateName) else namespace,
        subject=str(subject),
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=None if before is None else codec.dumps(before),
        after=None if after is None else codec.dumps(after),
        via=act.via,
    )


async def _set_status_and_apply_schedules(
    tx: Session, version: TemplateVersion, status: str, action: str, act: AuditNote
) -> TemplateVersion:
    (row,) = await tx.fetch_all(
        "set_template_status", id=version.id, status=status, actor=act.actor, reason=act.reason
    )
    await add_team_audit_entry(tx, act, action, version.key, version.status, status)
    await apply_declared_schedules(tx, version.namespace, version.name, act)
    return tx.read.parse_template_version(row)
