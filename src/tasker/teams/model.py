"""The values for teams: namespaces and their policies, the audit log and API keys.

Uses only the standard library. Values are frozen, like those of `tasker.model`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NewType

from tasker.model import AccessChannel, Json, JsonObject

ApiKeyId = NewType("ApiKeyId", int)

ALL_NAMESPACES = "*"
"""The entry in an API key's `namespaces` that stands for all namespaces."""

HOST_WITH_PORT = re.compile(r".+[^:\[]:\d{1,5}")
"""Matches a host with a port; an IPv6 address without brackets never has a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePolicy:
    """The owner of a namespace, and whether its template versions require approval."""

    namespace: str
    owner_team: str = ""
    contact_email: str = ""
    description: str = ""
    requires_approval: bool = False
    """Whether new template versions wait until one of `approvers` approves them."""

    approvers: tuple[str, ...] = ()  #: e-mail addresses
    http_hosts: tuple[str, ...] = ()
    """Hosts that `http:` steps may call, written as `api.example.com`, `api.example.com:8443`,
    `*.example.com` (all hosts below `example.com`) or `*` (any host). If the tuple is empty, the
    steps may not call any host."""

    updated_by: str = ""
    updated_at: datetime | None = None  #: None: not stored yet

    def allows_http(self, host: str, port: int | None) -> bool:
        """Return whether `http:` steps may call a host in lower case; port None: the default."""
        return any(_matches_host(entry, host, port) for entry in self.http_hosts)


def _matches_host(entry: str, host: str, port: int | None) -> bool:
    name, _, only = entry.rpartition(":") if HOST_WITH_PORT.fullmatch(entry) else (entry, "", "")
    if only and int(only) != port:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:])
    return name in ("*", host)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceInfo:
    """A namespace, its policy, and its number of template versions by status."""

    name: str
    policy: NamespacePolicy | None = None  #: None: not declared
    templates: int = 0  #: names that have an approved version
    approved: int = 0
    pending_review: int = 0
    rejected: int = 0
    retired: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamAuditEntry:
    """One entry of the audit log of namespaces, template versions and API keys."""

    id: int  #: grows with time
    at: datetime
    namespace: str | None  #: None: not bound to a namespace, as an API key
    subject: str  #: `payments`, `payments.process_refund@2.1.0`, `key 0f3a...`
    actor: str
    action: str
    reason: str
    before: Json  #: a status, a policy, or None
    after: Json
    via: AccessChannel | None = None
    """The interface through which the actor reached the store; None if the actor is a program that
    opened the store itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Permissions and lifetime of an API key, without its secret."""

    id: ApiKeyId
    name: str
    prefix: str  #: the public part of the key, by which it is found
    scopes: tuple[str, ...] = ()  #: permissions, such as `tasks:create`
    namespaces: tuple[str, ...] = ()  #: namespaces it is valid in; none: nowhere, `*`: everywhere
    roles: tuple[str, ...] = ()  #: names of bundles of permissions
    groups: tuple[str, ...] = ()  #: matched by assignees of the form `role:NAME`
    handlers: tuple[str, ...] = ()
    """Handlers that workers with this key may serve, as names or patterns such as `payments.*`; if
    empty, the workers may serve all handlers."""

    created_by: str
    created_at: datetime
    expires_at: datetime | None = None  #: None: never
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None  #: to the minute

    def is_active(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def covers_namespace(self, namespace: str) -> bool:
        """Return whether the key is valid in a namespace."""
        return ALL_NAMESPACES in self.namespaces or namespace in self.namespaces


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """An API key about to be stored; `tasker.teams.api_keys.generate_key` makes its secret."""

    name: str
    prefix: str
    digest: str  #: SHA-256 of the secret, in hexadecimal
    scopes: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSession:
    """A person's login in a browser, without the secret of its cookie."""

    key_prefix: str | None  #: of the API key that the person logged in with
    claims: JsonObject | None = None  #: of their identity provider, without a key
    created_at: datetime
    expires_at: datetime


class ApiKeyWithDigest(NamedTuple):
    """An API key and the digest of its secret."""

    key: ApiKey
    digest: str
