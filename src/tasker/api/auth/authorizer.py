"""Who comes in, and what they may do there: everything of this package, for one server."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasker.api.auth.claims import principal_of_claims
from tasker.api.auth.coordinators import (
    Coordinator,
    PermissionCoordinator,
    Resource,
    load_coordinator,
)
from tasker.api.auth.credentials import NotAuthenticated, credential_of
from tasker.api.auth.jwks import PublishedKeys
from tasker.api.auth.keyring import KeyRing
from tasker.api.auth.principal import ANONYMOUS, METRICS_ONLY, Principal
from tasker.api.auth.refusals import forbidden, not_there, unauthenticated, unavailable
from tasker.api.auth.tokens import KeysUnavailable, Tokens, configured_key
from tasker.api.headers import correlation_of
from tasker.errors import InvalidInput, InvalidSettings
from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.permissions import (
    METRICS_READ,
    NAMESPACES_UPDATE,
    PERMISSIONS,
    ROLES,
    TASKS_CREATE,
    TEMPLATES_REGISTER,
    Permission,
    check_roles,
    permissions_of,
)

log = logging.getLogger("tasker.auth")

_MAKES = frozenset({TASKS_CREATE, TEMPLATES_REGISTER, NAMESPACES_UPDATE})
"""What makes something new where the caller says, so that refusing it tells of nothing."""

_READING = ("read", "list")


class Rules(NamedTuple):
    """What the settings come to."""

    settings: AuthSettings
    roles: Mapping[str, frozenset[Permission]]
    tokens: Tokens | None  #: None: tokens are no credentials
    coordinator: Coordinator

    @classmethod
    def of(cls, settings: AuthSettings) -> "Rules":
        """Make what the settings ask for.

        Raises:
            InvalidSettings: It cannot be made.
        """
        tokens = None
        if settings.enabled and settings.tokens:
            keys = PublishedKeys(settings) if settings.jwks_url else configured_key(settings)
            tokens = Tokens(keys, settings)
        coordinator: Coordinator = PermissionCoordinator()
        if settings.enabled and settings.coordinator is not None:
            coordinator = load_coordinator(settings.coordinator)
        return cls(settings, roles_of(settings), tokens, coordinator)


class Authorizer:
    """Tells who comes in, and what they may do.

    Args:
        store: Keeps the API keys.
        rules: Of the settings.
    """

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._settings = rules.settings
        self._roles = rules.roles
        self._tokens = rules.tokens
        self._coordinator = rules.coordinator
        self._plain = type(rules.coordinator) is PermissionCoordinator
        self._keys = KeyRing(store, rules.roles, seconds=rules.settings.cache.total_seconds())

    # ---------------------------------------------------------------- coming in

    async def authenticate(
        self, scope: Mapping[str, Any], permissions: Sequence[Permission]
    ) -> Principal:
        """Tell who makes a request.

        Args:
            scope: The request's.
            permissions: Those that its route may ask for.

        Raises:
            Problem: `unauthenticated`, or `forbidden` where none of the permissions is
                held anywhere; `auth_unavailable`.
        """
        if not self._settings.enabled:
            return ANONYMOUS
        if self._settings.metrics_public and set(permissions) == {METRICS_READ}:
            return METRICS_ONLY
        try:
            principal = await self._principal(scope)
        except NotAuthenticated as refusal:
            self._log_refusal(scope, refusal)
            raise unauthenticated(refusal.reason) from None
        except KeysUnavailable:
            raise unavailable() from None
        if self._plain and permissions and not any(map(principal.holds, permissions)):
            where = Resource(scope.get("path_params", {}).get("namespace"))
            raise forbidden(permissions[0], principal, where)
        return principal

    async def _principal(self, scope: Mapping[str, Any]) -> Principal:
        credential = credential_of(scope)
        if credential.is_key:
            if not self._settings.api_keys:
                raise NotAuthenticated("invalid", "API keys are no credentials here")
            return await self._keys.principal(credential.text)
        if self._tokens is None:
            raise NotAuthenticated("invalid", "tokens are no credentials here")
        claims = await self._tokens.claims(credential.text)
        return principal_of_claims(claims, self._settings, self._roles)

    def _log_refusal(self, scope: Mapping[str, Any], refusal: NotAuthenticated) -> None:
        level = logging.INFO if refusal.reason == "missing" else logging.WARNING
        facts = {
            "reason": refusal.reason,
            "why": refusal.why,
            "path": scope["path"],
            "client": (scope.get("client") or ("",))[0],
            "correlation_id": correlation_of(scope),
        }
        log.log(level, "not_authenticated", extra=facts)

    # ------------------------------------------------------------ what they may

    async def authorize(
        self,
        scope: Mapping[str, Any],
        principal: Principal,
        permission: Permission,
        touched: Resource,
        missing: str,
    ) -> None:
        """Let a principal use a permission, or refuse it.

        What it may not see is not there, so that a refusal tells nobody that it is.

        Args:
            scope: The request's.
            principal: Who it is.
            permission: What it wants to use.
            touched: On what.
            missing: What is said of a thing that is not there.

        Raises:
            Problem: `forbidden`, or `not_found`.
        """
        if await self.allows(principal, permission, touched):
            return
        facts = {
            "principal": principal.name,
            "by": principal.credential,
            "permission": str(permission),
            "namespace": touched.namespace,
            "correlation_id": correlation_of(scope),
        }
        log.info("not_authorized", extra=facts)
        if permission in _MAKES or touched.namespace is None:
            raise forbidden(permission, principal, touched)
        if await self._sees(principal, permission.resource, touched):
            raise forbidden(permission, principal, touched)
        raise not_there(missing)

    async def _sees(self, principal: Principal, resource: str, touched: Resource) -> bool:
        for action in _READING:
            reading = Permission(resource, action)
            if reading in PERMISSIONS and await self.allows(principal, reading, touched):
                return True
        return False

    async def allows(self, principal: Principal, permission: Permission, touched: Resource) -> bool:
        """Tell whether a principal may use a permission."""
        if principal is ANONYMOUS or (principal is METRICS_ONLY and permission == METRICS_READ):
            return True
        resource, action = permission
        try:
            answer: Any = self._coordinator.authorized(principal, resource, action, touched)
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception:  # whatever the rules of others raise, the answer is no
            log.exception("coordinator_failed", extra={"permission": str(permission)})
            return False
        if not isinstance(answer, bool):
            facts = {"permission": str(permission), "answer": type(answer).__name__}
            log.error("coordinator_returned_non_bool", extra=facts)
            return False
        return answer

    async def visible(self, principal: Principal, permission: Permission) -> frozenset[str] | None:
        """Tell the namespaces in which a principal may use a permission; None: in all."""
        if principal is ANONYMOUS:
            return None
        if self._plain:
            return principal.namespaces if principal.holds(permission) else frozenset()
        names = [info.name for info in await self._store.namespaces()]
        asked = [(name, Resource(namespace=name)) for name in names]
        return frozenset(
            [name for name, touched in asked if await self.allows(principal, permission, touched)]
        )


def roles_of(settings: AuthSettings) -> Mapping[str, frozenset[Permission]]:
    """Tell what roles bundle: the built-in ones, and those of the settings.

    Raises:
        InvalidSettings: A role is built in, or has a permission that there is not.
    """
    roles = dict(ROLES)
    for name, permissions in settings.roles.items():
        if name in ROLES:
            raise InvalidSettings(f"auth.roles.{name}: the role {name} is built in")
        try:
            roles[name] = permissions_of(permissions)
        except InvalidInput as error:
            raise InvalidSettings(f"auth.roles.{name}: {error}") from None
    try:
        check_roles(settings.default_roles, roles)
    except InvalidInput as error:
        raise InvalidSettings(f"auth.default_roles: {error}") from None
    return roles
