"""API keys as credentials."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.principal import Principal
from tasker.errors import StoreError
from tasker.store.protocol import TeamStore
from tasker.teams.api_keys import digest_secret, parse_key, verify_secret
from tasker.teams.model import ALL_NAMESPACES, ApiKey
from tasker.teams.permissions import ADMIN, Permission, expand_scope
from tasker.ttl_cache import Clock, TTLCache

log = logging.getLogger("tasker.auth")

_NO_DIGEST = digest_secret("")  #: compared with unknown keys, so timing reveals nothing
_TOUCH = 60.0  #: seconds between two updates of a key's `last_used_at`


class _CachedApiKey(NamedTuple):
    """A key of the store, and the principal of its callers."""

    key: ApiKey
    digest: str
    principal: Principal


class ApiKeyCache:
    """Finds the principals of a store's API keys, and caches the keys for some seconds.

    Args:
        store: The store.
        roles: The permissions of each role.
        seconds: How long a key is cached.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        store: TeamStore,
        roles: Mapping[str, frozenset[Permission]],
        *,
        seconds: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._roles = roles
        self._known: TTLCache[str, _CachedApiKey | None] = TTLCache(
            self._read_stored_key, seconds=seconds, clock=clock
        )
        self._touched: TTLCache[str, None] = TTLCache(
            self._record_use, seconds=max(_TOUCH, seconds), clock=clock
        )

    async def authenticate_key(self, text: str) -> Principal:
        """Verify a key, record its use, and return its principal.

        Raises:
            NotAuthenticated: The key is unknown, expired or revoked.
            StoreUnavailable: The store cannot be reached.
        """
        parts = parse_key(text)
        if parts is None:
            raise NotAuthenticated("invalid", "malformed key")
        known = await self._known.get(parts.prefix)
        right = verify_secret(parts.secret, _NO_DIGEST if known is None else known.digest)
        if known is None or not right:
            why = "the key does not exist" if known is None else "the secret is wrong"
            raise NotAuthenticated("invalid", f"key {parts.prefix}: {why}")
        return await self._require_active_and_record_use(known)

    async def find_principal_by_key_prefix(self, prefix: str) -> Principal:
        """Return the principal of the key with a prefix, whose secret was verified before.

        Raises:
            NotAuthenticated: The key is unknown, expired or revoked.
            StoreUnavailable: The store cannot be reached.
        """
        known = await self._known.get(prefix)
        if known is None:
            raise NotAuthenticated("invalid", f"key {prefix} does not exist")
        return await self._require_active_and_record_use(known)

    async def _require_active_and_record_use(self, known: "_CachedApiKey") -> Principal:
        key = known.key
        if not key.is_active(datetime.now(UTC)):
            raise NotAuthenticated(
                "expired" if key.revoked_at is None else "revoked", f"key {key.prefix}"
            )
        await self._touched.get(key.prefix)
        return known.principal

    async def _read_stored_key(self, prefix: str) -> "_CachedApiKey | None":
        stored = await self._store.find_api_key(prefix)
        if stored is None:
            return None
        return _CachedApiKey(stored.key, stored.digest, self._make_principal(stored.key))

    def _make_principal(self, key: ApiKey) -> Principal:
        permissions = [
            *(expand_scope(scope) for scope in key.scopes),
            *(self._roles.get(role, frozenset()) for role in key.roles),
        ]
        everywhere = ALL_NAMESPACES in key.namespaces
        return Principal(
            name=key.name,
            permissions=frozenset().union(*permissions),
            namespaces=None if everywhere else frozenset(key.namespaces),
            roles=frozenset(key.roles),
            groups=frozenset(key.groups),
            handlers=frozenset(key.handlers),
            admin=everywhere and ADMIN in key.roles,
            credential=f"key {key.prefix}",
        )

    async def _record_use(self, prefix: str) -> None:
        try:
            await self._store.touch_api_key(prefix)
        except StoreError as error:  # no reason to reject the request
            log.warning("api_key_touch_failed", extra={"key": prefix, "code": error.code})
