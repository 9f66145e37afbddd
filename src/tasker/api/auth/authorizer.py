"""Authenticates and authorizes the requests of one server."""

import inspect
import logging
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasker.api.auth.authenticators import Authenticator, AuthenticatorError, authenticate_with
from tasker.api.auth.claims import principal_of_claims
from tasker.api.auth.coordinators import (
    Coordinator,
    PermissionCoordinator,
    Resource,
)
from tasker.api.auth.credentials import (
    KEY_PREFIX,
    Credential,
    NotAuthenticated,
    TokenKeysUnavailable,
    credential_of,
    sends_credential,
)
from tasker.api.auth.keyring import ApiKeyCache
from tasker.api.auth.loading import create_configured_instance
from tasker.api.auth.principal import ANONYMOUS, METRICS_ONLY, Principal
from tasker.api.auth.rejections import (
    auth_unavailable_problem,
    forbidden_problem,
    not_found_problem,
    unauthenticated_problem,
)
from tasker.api.auth.sessions import Sessions, session_secret_of
from tasker.api.headers import client_address, get_or_make_correlation_id
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
    expand_scopes,
    require_known_roles,
)

if TYPE_CHECKING:
    from tasker.api.auth.oidc import IdentityProvider
    from tasker.api.auth.tokens import TokenVerifier

log = logging.getLogger("tasker.auth")

_MAKES = frozenset({TASKS_CREATE, TEMPLATES_REGISTER, NAMESPACES_UPDATE})
"""Permissions to create named objects. A caller without the permission always gets 403, which does
not reveal whether the object exists."""

_READING = ("read", "list")
_READ_AS = {"signals": "tasks", "payloads": "tasks"}
"""For each resource without a read permission of its own, the resource whose read permission
applies."""


class LoadedAuthSettings(NamedTuple):
    """The auth settings, with keys and classes loaded."""

    settings: AuthSettings
    roles: Mapping[str, frozenset[Permission]]
    tokens: "TokenVerifier | None"  #: None: tokens are not accepted
    coordinator: Coordinator
    authenticator: Authenticator | None  #: None: only keys and tokens are credentials
    provider: "IdentityProvider | None" = None  #: None: people log in with keys only

    @classmethod
    def load(cls, settings: AuthSettings) -> "LoadedAuthSettings":
        """Load the keys and classes named in the settings.

        Raises:
            InvalidSettings: A key or class cannot be loaded.
        """
        tokens = (
            _make_token_verifier(settings) if settings.enabled and settings.accepts_tokens else None
        )
        coordinator: Coordinator = PermissionCoordinator()
        if settings.enabled and settings.coordinator is not None:
            coordinator = create_configured_instance(
                "auth.coordinator", settings.coordinator, Coordinator
            )
        authenticator = None
        if settings.enabled and settings.authenticator is not None:
            authenticator = create_configured_instance(
                "auth.authenticator", settings.authenticator, Authenticator
            )
        roles = permissions_by_role(settings)
        provider = None
        if settings.enabled and settings.has_oidc_login:
            provider = _make_identity_provider(settings, roles)
        return cls(settings, roles, tokens, coordinator, authenticator, provider)


def _make_identity_provider(
    settings: AuthSettings, roles: Mapping[str, frozenset[Permission]]
) -> "IdentityProvider":
    from tasker.api.auth.oidc import IdentityProvider  # slow to load, as below

    return IdentityProvider(settings, roles)


def _make_token_verifier(settings: AuthSettings) -> "TokenVerifier":
    # Imported here: cryptography is slow to load, and most servers accept no tokens.
    from tasker.api.auth.jwks import PublishedKeySet
    from tasker.api.auth.tokens import TokenVerifier, load_configured_key

    keys = PublishedKeySet(settings) if settings.fetches_jwt_keys else load_configured_key(settings)
    return TokenVerifier(keys, settings)


class Authorizer:
    """Authenticates callers and decides what they may do.

    Args:
        store: The store with the API keys.
        loaded_auth: The loaded settings.
    """

    def __init__(self, store: Store, loaded_auth: LoadedAuthSettings) -> None:
        self._store = store
        self._settings = loaded_auth.settings
        self._roles = loaded_auth.roles
        self._tokens = loaded_auth.tokens
        self._coordinator = loaded_auth.coordinator
        self._authenticator = loaded_auth.authenticator
        self._plain = type(loaded_auth.coordinator) is PermissionCoordinator
        self._keys = ApiKeyCache(
            store, loaded_auth.roles, seconds=loaded_auth.settings.cache.total_seconds()
        )
        self.sessions = Sessions(store, self._keys, loaded_auth.settings, loaded_auth.roles)
        self.provider = loaded_auth.provider

    @property
    def is_enabled(self) -> bool:
        """Whether callers must authenticate."""
        return bool(self._settings.enabled)

    @property
    def accepts_keys(self) -> bool:
        """Whether API keys are credentials."""
        return self._settings.api_keys

    # ------------------------------------------------------------ authentication

    async def authenticate_and_check_permissions(
        self,
        scope: MutableMapping[str, Any],
        permissions: Sequence[Permission],
        *,
        every: bool = False,
    ) -> Principal:
        """Return the caller of a request, if it has the permissions that the route requires.

        Args:
            scope: The request's ASGI scope.
            permissions: The permissions, of which one suffices.
            every: Whether all of them are required.

        Raises:
            Problem: `unauthenticated`; `forbidden` if the caller has none of the permissions in
                any namespace, or with `every` not all of them; `auth_unavailable`.
        """
        if not self._settings.enabled:
            return ANONYMOUS
        if self._settings.metrics_public and set(permissions) == {METRICS_READ}:
            return METRICS_ONLY
        try:
            principal = await self._identify_caller(scope)
        except NotAuthenticated as rejection:
            self._log_rejection(scope, rejection)
            raise unauthenticated_problem(rejection.reason) from None
        except TokenKeysUnavailable:
            raise auth_unavailable_problem("The keys that verify tokens") from None
        except AuthenticatorError:
            raise auth_unavailable_problem("Credentials of this kind") from None
        suffices = all if every else any
        if self._plain and permissions and not suffices(map(principal.has_permission, permissions)):
            where = Resource(scope.get("path_params", {}).get("namespace"))
            missing = next(each for each in permissions if not principal.has_permission(each))
            raise forbidden_problem(missing, principal, where)
        return principal

    async def _identify_caller(self, scope: MutableMapping[str, Any]) -> Principal:
        secret = None if sends_credential(scope) else session_secret_of(scope)
        if secret is not None and (self._settings.api_keys or self._settings.has_oidc_login):
            return await self.sessions.authenticate_and_check_csrf(secret, scope)
        credential = self._find_credential_or_authenticator(scope)
        if isinstance(credential, Authenticator):
            return await authenticate_with(credential, scope, self._roles)
        if credential.is_key:
            if not self._settings.api_keys:
                raise NotAuthenticated("invalid", "API keys are not accepted")
            return await self._keys.authenticate_key(credential.text)
        if self._tokens is None:
            raise NotAuthenticated("invalid", "tokens are not accepted")
        claims = await self._tokens.verify_token(credential.text)
        return principal_of_claims(claims, self._settings, self._roles)

    def _find_credential_or_authenticator(
        self, scope: MutableMapping[str, Any]
    ) -> Credential | Authenticator:
        """Return the API key or token of a request, or the custom authenticator to use instead.

        Raises:
            NotAuthenticated: It has neither, and there is no custom authenticator.
        """
        try:
            credential = credential_of(scope)
        except NotAuthenticated:
            if self._authenticator is None:
                raise
            return self._authenticator
        is_ours = self._tokens is not None
        if credential.is_key:
            is_ours = credential.text.startswith(KEY_PREFIX)
        return credential if is_ours or self._authenticator is None else self._authenticator

    def _log_rejection(self, scope: MutableMapping[str, Any], rejection: NotAuthenticated) -> None:
        level = logging.INFO if rejection.reason == "missing" else logging.WARNING
        facts = {
            "reason": rejection.reason,
            "why": rejection.why,
            "path": scope["path"],
            "client": client_address(scope),
            "correlation_id": get_or_make_correlation_id(scope),
        }
        log.log(level, "not_authenticated", extra=facts)

    # ------------------------------------------------------------- authorization

    async def authorize(
        self,
        scope: MutableMapping[str, Any],
        principal: Principal,
        permission: Permission,
        target: Resource,
        not_found_message: str,
    ) -> None:
        """Return normally if a principal may use a permission on a resource.

        A resource that the principal may not see is reported as not found, so error responses do
        not reveal which resources exist.

        Args:
            scope: The request's ASGI scope.
            principal: The caller.
            permission: The permission.
            target: The resource.
            not_found_message: Message of the `not_found` problem.

        Raises:
            Problem: `forbidden`, or `not_found`.
        """
        if await self.allows(principal, permission, target):
            return
        facts = {
            "principal": principal.name,
            "by": principal.credential,
            "permission": str(permission),
            "namespace": target.namespace,
            "correlation_id": get_or_make_correlation_id(scope),
        }
        log.info("not_authorized", extra=facts)
        if permission in _MAKES or target.namespace is None:
            raise forbidden_problem(permission, principal, target)
        if await self._has_any_read_permission(principal, permission.resource, target):
            raise forbidden_problem(permission, principal, target)
        raise not_found_problem(not_found_message)

    async def _has_any_read_permission(
        self, principal: Principal, resource: str, target: Resource
    ) -> bool:
        for action in _READING:
            reading = Permission(_READ_AS.get(resource, resource), action)
            if reading in PERMISSIONS and await self.allows(principal, reading, target):
                return True
        return False

    @property
    def decides_by_namespace(self) -> bool:
        """Whether permissions depend only on the namespace of a template."""
        return self._plain or not self.is_enabled

    async def allows(self, principal: Principal, permission: Permission, target: Resource) -> bool:
        """Return whether a principal may use a permission on a resource."""
        if principal is ANONYMOUS or (principal is METRICS_ONLY and permission == METRICS_READ):
            return True
        resource, action = permission
        try:
            answer: Any = self._coordinator.authorized(principal, resource, action, target)
            if not isinstance(answer, bool) and inspect.isawaitable(answer):
                answer = await answer
        except Exception:  # a coordinator that raises denies
            log.exception("coordinator_failed", extra={"permission": str(permission)})
            return False
        if not isinstance(answer, bool):
            facts = {"permission": str(permission), "answer": type(answer).__name__}
            log.error("coordinator_returned_non_bool", extra=facts)
            return False
        return answer

    async def visible_namespaces(
        self, principal: Principal, permission: Permission
    ) -> frozenset[str] | None:
        """Return the namespaces in which a principal may use a permission, or None for all."""
        if principal is ANONYMOUS:
            return None
        if self._plain:
            return principal.namespaces if principal.has_permission(permission) else frozenset()
        names = [info.name for info in await self._store.list_namespaces()]
        return frozenset(
            [
                name
                for name in names
                if await self.allows(principal, permission, Resource(namespace=name))
            ]
        )


def permissions_by_role(settings: AuthSettings) -> Mapping[str, frozenset[Permission]]:
    """Return the permissions of each role, both built-in and from the settings.

    Raises:
        InvalidSettings: A role in the settings has the name of a built-in role, or an unknown
            permission.
    """
    roles = dict(ROLES)
    for name, permissions in settings.roles.items():
        if name in ROLES:
            raise InvalidSettings(
                f"auth.roles.{name}: the role {name} is built in and cannot be redefined"
            )
        try:
            roles[name] = expand_scopes(permissions)
        except InvalidInput as error:
            raise InvalidSettings(f"auth.roles.{name}: {error}") from None
    try:
        require_known_roles(settings.default_roles, roles)
    except InvalidInput as error:
        raise InvalidSettings(f"auth.default_roles: {error}") from None
    return roles
