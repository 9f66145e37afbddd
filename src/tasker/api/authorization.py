"""Authorization of requests. Routes use this module, never `tasker.api.auth` directly.

Each route declares its permissions (`require_permissions`), so the caller is authenticated before
the body is read. The route passes each object to `authorize` with its namespace, name and version,
and restricts lists to `visible_namespaces`. If authentication is disabled, every caller is
`anonymous` and may do anything.
"""

import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from starlette.requests import Request

from tasker.api.auth.coordinators import Resource
from tasker.api.auth.principal import Principal
from tasker.api.dependencies import api_services_of
from tasker.api.headers import client_address, first_header
from tasker.api.problems import Problem
from tasker.api.viewing import PermissionMasker
from tasker.masking import DataOwner
from tasker.model import AccessChannel, TemplateName
from tasker.teams.permissions import PAYLOADS_READ, PERMISSIONS, Permission

ACTING_AS = "x-acting-as"
CLIENT = "x-tasker-client"
_OPERATOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@+ -]{0,98}[A-Za-z0-9])?", re.ASCII)


async def authorize(
    request: Request,
    permission: Permission,
    *,
    namespace: str | None = None,
    name: str | None = None,
    version: str | None = None,
    not_found_message: str | None = None,
) -> Principal:
    """Return the caller if it may use `permission` on the named object.

    Args:
        request: The request.
        permission: A permission that the route declares.
        namespace: Namespace of the task or template; None if the object has none.
        name: The template's name.
        version: The template's version, if known.
        not_found_message: Message of the 404 response; it does not depend on whether the object is
            missing or not visible.

    Raises:
        Problem: `forbidden`; or `not_found` if the caller may not see the object.
    """
    principal = principal_of(request)
    if not_found_message is None:
        kind, full_name = ("template", f"{namespace}.{name}") if name else ("namespace", namespace)
        not_found_message = f"{kind} {full_name} not found"
    target = Resource(namespace, name, version)
    authorizer = api_services_of(request).authorizer
    await authorizer.authorize(request.scope, principal, permission, target, not_found_message)
    masker_of(request).owner = DataOwner(namespace, name, version)
    return principal


async def is_allowed_on_template(
    request: Request, permission: Permission, namespace: str, name: str, version: str | None = None
) -> bool:
    """Return whether the caller may use `permission` on tasks of a template or, with `version`, of
    that version."""
    target = Resource(namespace, name, version)
    return await api_services_of(request).authorizer.allows(
        principal_of(request), permission, target
    )


async def reauthorize(
    request: Request, permission: Permission, template: TemplateName, not_found_message: str
) -> None:
    """Check again, during a wait, that the caller may still use `permission` on a task.

    Raises:
        Problem: Access was revoked. If the check itself fails, the wait continues.
    """
    try:
        principal = await api_services_of(request).authorizer.authenticate_and_check_permissions(
            request.scope, [permission]
        )
    except Problem as problem:
        if problem.status_code < 500:
            raise
        return
    masker = masker_of(request)
    request.scope["state"]["principal"] = masker.principal = principal
    owner, (namespace, name, version) = masker.owner, template
    await authorize(
        request,
        permission,
        namespace=namespace,
        name=name,
        version=version,
        not_found_message=not_found_message,
    )
    masker.owner = owner


async def visible_namespaces(request: Request, permission: Permission) -> frozenset[str] | None:
    """Return the namespaces in which the caller may use `permission`, or None for all."""
    return await api_services_of(request).authorizer.visible_namespaces(
        principal_of(request), permission
    )


async def listable_task_namespaces(
    request: Request, permission: Permission, attributes: Mapping[str, str]
) -> frozenset[str] | None:
    """Return the namespaces whose tasks the caller may list, or None for all.

    Attributes are payload: to filter by them, the caller needs the permission to read payloads.
    """
    visible = await visible_namespaces(request, permission)
    if not attributes:
        return visible
    readable = await visible_namespaces(request, PAYLOADS_READ)
    if visible is None or readable is None:
        return readable if visible is None else visible
    return visible & readable


def principal_of(request: Request) -> Principal:
    """Return the caller of a request whose route declared a permission."""
    principal: Principal = request.scope["state"]["principal"]
    return principal


def masker_of(request: Request) -> PermissionMasker:
    """Return the masker for the caller of a request whose route declared a permission."""
    masker: PermissionMasker = request.scope["state"]["masker"]
    return masker


def audit_actor_of(request: Request) -> str:
    """Return the name of the caller for the audit log of actions on tasks.

    A caller may name the person for whom it acts (`X-Acting-As`): `deploy key (as ann)`. This does
    not change its permissions.

    Raises:
        Problem: The name is invalid.
    """
    name, operator = principal_of(request).name, first_header(request.scope, ACTING_AS)
    if operator is None:
        return name
    if not _OPERATOR.fullmatch(operator):
        message = "must be 1 to 100 ASCII characters: letters, digits, spaces and . _ @ + -"
        raise Problem("invalid_request", f"header.X-Acting-As {message}.")
    return f"{name} (as {operator})"


def access_channel_of(request: Request) -> AccessChannel:
    """Return how the caller reached the server, for the audit log.

    Callers with a session use the web UI. Without authentication, a browser is recognized by a
    header that scripts cannot set. Other callers may declare that they are the command line or an
    assistant.
    """
    scope = request.scope
    if principal_of(request).via_session:
        return AccessChannel.UI
    known = api_services_of(request).authorizer.is_enabled
    if not known and first_header(scope, "sec-fetch-site") == "same-origin":
        return AccessChannel.UI
    name = first_header(scope, CLIENT)
    return (
        AccessChannel(name) if name in (AccessChannel.CLI, AccessChannel.MCP) else AccessChannel.API
    )


def require_permissions(
    *permissions: Permission, every: bool = False
) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """Return the dependency that authenticates callers and requires one of `permissions`, or
    `every` one.
    """
    if unknown := set(permissions) - PERMISSIONS:
        raise ValueError(f"unknown permission {', '.join(map(str, unknown))}")

    async def authenticate_and_limit_rate(request: Request) -> None:
        api = api_services_of(request)
        address = client_address(request.scope)
        try:
            principal = await api.authorizer.authenticate_and_check_permissions(
                request.scope, permissions, every=every
            )
        except Problem:
            api.rate_limits.admit(f"address {address}")
            raise
        api.rate_limits.admit(principal.name if principal.known else f"address {address}")
        masker = PermissionMasker(principal, api.authorizer, api.sensitive)
        request.scope["state"].update(principal=principal, masker=masker)

    return authenticate_and_limit_rate
