"""Namespaces and their policies, decisions about template versions, API keys, their audit."""

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from tasker import codec
from tasker.errors import WrongState
from tasker.model import TemplateName, TemplateVersion
from tasker.store.protocol import AuditNote
from tasker.store.sqlite.driver import (
    READ,
    Driver,
    execute,
    fetch,
    fetch_one,
    json_text,
    seconds,
)
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
        return await self._read(lambda on: policy_of(on, namespace))

    async def put_policy(self, policy: NamespacePolicy, act: AuditNote) -> NamespacePolicy:
        check_policy(policy)
        space = policy.namespace

        def put(on: sqlite3.Connection) -> NamespacePolicy:
            now = self._now()
            row = fetch_one(on, "lock_policy", namespace=space)
            before = None if row is None else READ.policy(row)
            if before is not None and rules.same_policy(before, policy):
                return before
            columns = rules.policy_columns(policy)
            columns["approvers"] = json_text(policy.approvers)
            stored = READ.policy(fetch_one(on, "put_policy", actor=act.actor, now=now, **columns))
            told = rules.as_document(before), rules.as_document(stored)
            add_event(on, act, "put_policy", space, *told, now, namespace=space)
            return stored

        return await self._write(put)

    # --------------------------------------------------------------- templates

    async def decide_template(
        self, name: TemplateName, *, approve: bool, act: AuditNote
    ) -> TemplateVersion:
        def decide(on: sqlite3.Connection) -> TemplateVersion:
            now = self._now()
            policy = policy_of(on, name.namespace)
            decision = rules.check_decision(name, standing(on, name), policy, act, approve=approve)
            for old in decision.replaces:
                execute(on, "replace_template", id=old, now=now)
            action = "approve_template" if approve else "reject_template"
            return _decide(on, decision.version, decision.status, action, act, now)

        return await self._write(decide)

    async def retire_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        def retire(on: sqlite3.Connection) -> TemplateVersion:
            version = rules.check_retirement(name, standing(on, name), restore=False)
            status = rules.RETIRED
            return _decide(on, version, status, "retire_template", act, self._now())

        return await self._write(retire)

    async def restore_template(self, name: TemplateName, act: AuditNote) -> TemplateVersion:
        def restore(on: sqlite3.Connection) -> TemplateVersion:
            version = rules.check_retirement(name, standing(on, name), restore=True)
            status = rules.APPROVED
            return _decide(on, version, status, "restore_template", act, self._now())

        return await self._write(restore)

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
            visible=None if visible is None else json_text(sorted(visible)),
            after=after,
            limit=limit,
        )
        return [READ.team_event(row) for row in rows]

    # ---------------------------------------------------------------- API keys

    async def add_api_key(self, key: NewApiKey, act: AuditNote) -> ApiKey:
        rules.check_api_key(key)

        def add(on: sqlite3.Connection) -> ApiKey:
            now = self._now()
            row = fetch_one(
                on,
                "add_api_key",
                prefix=key.prefix,
                digest=key.digest,
                name=key.name,
                scopes=json_text(key.scopes),
                namespaces=json_text(key.namespaces),
                roles=json_text(key.roles),
                groups=json_text(key.groups),
                created_by=act.actor,
                expires_at=seconds(key.expires_at),
                now=now,
            )
            stored = READ.api_key(row)
            facts = rules.key_document(stored)
            add_event(on, act, "create_api_key", f"key {key.prefix}", None, facts, now)
            return stored

        return await self._write(add)

    async def find_api_key(self, prefix: str) -> ApiKeyDigest | None:
        row = await self._first("find_api_key", prefix=prefix)
        return None if row is None else ApiKeyDigest(READ.api_key(row), row[12])

    async def list_api_keys(self) -> list[ApiKey]:
        return [READ.api_key(row) for row in await self._all("list_api_keys")]

    async def revoke_api_key(self, prefix: str, act: AuditNote) -> ApiKey:
        def revoke(on: sqlite3.Connection) -> ApiKey:
            now = self._now()
            row = fetch_one(on, "revoke_api_key", prefix=prefix, now=now)
            if row is None:
                if fetch_one(on, "find_api_key", prefix=prefix) is None:
                    raise rules.unknown_key(prefix)
                raise WrongState(f"API key {prefix}", "revoked", "revoke", {"active"})
            revoked = READ.api_key(row)
            facts = rules.key_document(revoked)
            add_event(on, act, "revoke_api_key", f"key {prefix}", facts, None, now)
            return revoked

        return await self._write(revoke)

    async def touch_api_key(self, prefix: str) -> None:
        await self._change("touch_api_key", prefix=prefix, now=self._now())


def standing(on: sqlite3.Connection, name: TemplateName) -> list[VersionRow]:
    """Tell all that stands under a template's name, oldest first."""
    rows = fetch(on, "lock_versions", **name._asdict())
    return [VersionRow(READ.template_version(row), row[10]) for row in rows]


def policy_of(on: sqlite3.Connection, namespace: str) -> NamespacePolicy | None:
    row = fetch_one(on, "policy", namespace=namespace)
    return None if row is None else READ.policy(row)


def add_event(
    on: sqlite3.Connection,
    act: AuditNote,
    action: str,
    subject: TemplateName | str,
    before: Mapping[str, Any] | str | None,
    after: Mapping[str, Any] | str | None,
    now: float,
    *,
    namespace: str | None = None,
) -> None:
    """Put an act into the audit of teams; a template's belongs to its namespace."""
    execute(
        on,
        "add_event",
        namespace=subject.namespace if isinstance(subject, TemplateName) else namespace,
        subject=str(subject),
        actor=act.actor,
        action=action,
        reason=act.reason,
        before=None if before is None else codec.dumps(before),
        after=None if after is None else codec.dumps(after),
        now=now,
    )


def _decide(
    on: sqlite3.Connection,
    version: TemplateVersion,
    status: str,
    action: str,
    act: AuditNote,
    now: float,
) -> TemplateVersion:
    row = fetch_one(
        on,
        "decide_template",
        id=version.id,
        status=status,
        actor=act.actor,
        reason=act.reason,
        now=now,
    )
    add_event(on, act, action, version.name, version.status, status, now)
    return READ.template_version(row)
