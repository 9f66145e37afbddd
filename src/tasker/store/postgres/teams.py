"""Namespaces and their policies, decisions about template versions, API keys, their audit."""

from collections.abc import Collection, Mapping
from typing import Any

from tasker import codec
from tasker.errors import WrongState
from tasker.model import TemplateName, TemplateVersion
from tasker.store.postgres.address import Connection
from tasker.store.postgres.driver import READ, Driver, execute, fetch, fetch_one
from tasker.store.protocol import AuditNote
from tasker.teams import rules
from tasker.teams.model import (
    ApiKey,
    ApiKeyDigest,
    NamespaceInfo,
    NamespacePolicy,
    NewApiKey,
    TeamEvent,
)
from tasker.teams.policies import check_policy
from tasker.teams.rules import VersionRow


class Teams(Driver):
    """Namespaces and their policies, decisions about template versions, API keys, their audit."""

    async def namespaces(self) -> list[NamespaceInfo]:
        return [READ.namespace(row) for row in await self._all("namespaces")]

    async def policy(self, namespace: str) -> NamespacePolicy | None:
        row = await self._one("policy", namespace=namespace)
        return None if row is None else READ.policy(row)

    async def put_policy(self, policy: NamespacePolicy, act: AuditNote) -> NamespacePolicy:
        check_policy(policy)
        space = policy.namespace
        async with self._transaction() as connection:
            row = await fetch_one(connection, "lock_policy", namespace=space)
            before = None if row is None else READ.policy(row)
            if before is not None and rules.same_policy(before, policy):
                return before
            stored = READ.policy(
                await fetch_one(
                    connection, "put_policy", actor=act.actor, **rules.policy_columns(policy)
                )
            )
            told = rules.as_document(before), rules.as_document(stored)
            await add_event(connection, act, "put_policy", space, *told, namespace=space)
        return stored

    # --------------------------------------------------------------- templates

    async def decide_template(
        self, name: TemplateName, *, approve: bool, act: AuditNote
    ) -> TemplateVersion:
        async with self._transaction() as connection:
            there = await standing(connection, name)
            policy = await policy_of(connection, name.namespace)
            decision = rules.check_decision(name, there, policy, act, approve=approve)
            for old in decision.replaces:
                await execute(connection, "replace_template", id=old)
            action = "approve_template" if approve else "reject_template"
            return await _decide(connection, decision.version, decision.status, action, act)

    async def retire_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        async with self._transaction() as connection:
            version = rules.check_retirement(name, await standing(connection, name), restore=False)
            return await _decide(connection, version, rules.RETIRED, "retire_template", act)

    async def restore_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        async with self._transaction() as connection:
            version = rules.check_retirement(name, await standing(connection, name), restore=True)
            return await _decide(connection, version, rules.APPROVED, "restore_template", act)

    async def template_statuses(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        rows = await self._all("template_statuses", namespace=namespace, name=name)
        return [READ.template_version(row) for row in rows]

    async def team_audit(
        self,
        *,
        namespace: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[TeamEvent]:
        rows = await self._all(
            "team_audit",
            namespace=namespace,
            visible=None if visible is None else sorted(visible),
            after=after,
            limit=limit,
        )
        return [READ.team_event(row) for row in rows]

    # ---------------------------------------------------------------- API keys

    async def add_api_key(self, key: NewApiKey, act: AuditNote) -> ApiKey:
        rules.check_api_key(key)
        async with self._transaction() as connection:
            stored = READ.api_key(
                await fetch_one(
                    connection,
                    "add_api_key",
                    prefix=key.prefix,
                    digest=key.digest,
                    name=key.name,
                    scopes=key.scopes,
                    namespaces=key.namespaces,
                    roles=key.roles,
                    groups=key.groups,
                    created_by=act.actor,
                    expires_at=key.expires_at,
                )
            )
            facts = rules.key_document(stored)
            await add_event(connection, act, "create_api_key", f"key {key.prefix}", None, facts)
        return stored

    async def find_api_key(self, prefix: str) -> ApiKeyDigest | None:
        row = await self._one("find_api_key", prefix=prefix)
        return None if row is None else ApiKeyDigest(READ.api_key(row), row["digest"])

    async def list_api_keys(self) -> list[ApiKey]:
        return [READ.api_key(row) for row in await self._all("list_api_keys")]

    async def revoke_api_key(self, prefix: str, act: AuditNote) -> ApiKey:
        async with self._transaction() as connection:
            row = await fetch_one(connection, "revoke_api_key", prefix=prefix)
            if row is None:
                found = await fetch_one(connection, "find_api_key", prefix=prefix)
                if found is None:
                    raise rules.unknown_key(prefix)
                raise WrongState(f"API key {prefix}", "revoked", "revoke", {"active"})
            revoked = READ.api_key(row)
            facts = rules.key_document(revoked)
            await add_event(connection, act, "revoke_api_key", f"key {prefix}", facts, None)
        return revoked

    async def touch_api_key(self, prefix: str) -> None:
        await self._all("touch_api_key", prefix=prefix)


async def standing(connection: Connection, name: TemplateName) -> list[VersionRow]:
    """Lock and tell all that stands under a template's name, oldest first."""
    rows = await fetch(connection, "lock_versions", **name._asdict())
    return [VersionRow(READ.template_version(row), row["digest"]) for row in rows]


async def policy_of(connection: Connection, namespace: str) -> NamespacePolicy | None:
    row = await fetch_one(connection, "policy", namespace=namespace)
    return None if row is None else READ.policy(row)


async def add_event(
    connection: Connection,
    act: AuditNote,
    action: str,
    subject: TemplateName | str,
    before: Mapping[str, Any] | str | None,
    after: Mapping[str, Any] | str | None,
    *,
    namespace: str | None = None,
) -> None:
    """Put an act into the audit of teams; a template's belongs to its namespace."""
    await execute(
        connection,
        "add_event",
        namespace=subject.namespace if isinstance(subject, TemplateName) else namespace,
        subject=str(subject),
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=None if before is None else codec.dumps(before),
        after=None if after is None else codec.dumps(after),
    )


async def _decide(
    connection: Connection, version: TemplateVersion, status: str, action: str, act: AuditNote
) -> TemplateVersion:
    row = await fetch_one(
        connection,
        "decide_template",
        id=version.id,
        status=status,
        actor=act.actor,
        reason=act.reason,
    )
    await add_event(connection, act, action, version.name, version.status, status)
    return READ.template_version(row)
