"""Who may do what, once it is known who it is: by permissions, by teams, or by your own rules.

A coordinator is one class with one method. `[auth] coordinator = "package.module:Class"`
makes it decide about every request.
"""

import importlib
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import NamedTuple

from tasker.api.auth.principal import Principal
from tasker.errors import InvalidSettings
from tasker.teams.permissions import METRICS_READ, Permission

SHARED = "shared"

_VIEWING = frozenset({"read", "list", "analytics_read"})


class Resource(NamedTuple):
    """What a request is about, as far as it is known."""

    namespace: str | None = None  #: None: no single one, as in a list of workers
    name: str | None = None  #: the template's
    version: str | None = None  #: the template's; what was asked for, which may be a range


class Coordinator:
    """Decides who may do what. This one lets nobody do anything.

    It is made once, without arguments, and asked for every request: `authorized` must not
    block. It may be a coroutine function where it has to ask elsewhere. Where it raises,
    or answers anything but True, the answer is no.
    """

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool | Awaitable[bool]:
        """Tell whether `principal` may do `action` to `resource`.

        Args:
            principal: Who asks.
            resource: `tasks`, `steps`, `templates`, `namespaces`, `workers`, `system`.
            action: `create`, `read`, `list`, ...: with the resource, a `Permission`.
            context: What it is about. A list asks once for each namespace, and shows
                those for which the answer is yes.
        """
        return False


class PermissionCoordinator(Coordinator):
    """Lets principals do what their permissions say, in the namespaces that they have."""

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if not principal.holds(Permission(resource, action)):
            return False
        return context.namespace is None or principal.reaches(context.namespace)


class TeamCoordinator(Coordinator):
    """Lets teams manage what is in their own namespace, and see that and `shared`.

    A team's namespace has its name: `Customer Success` owns `customer_success`. Namespaces
    that a principal was given count as its own too. Admins may do everything. Where
    something was said about permissions, those bound it further; where nothing was, the
    team alone decides.
    """

    def authorized(
        self, principal: Principal, resource: str, action: str, context: Resource
    ) -> bool:
        if principal.admin:
            return True
        if not self._holds(principal, resource, action):
            return False
        if context.namespace is None:
            return True  # the answer is narrowed to what is visible
        if self._owns(principal, context.namespace):
            return True
        belongs = principal.team is not None or bool(principal.namespaces)
        return belongs and action in _VIEWING and context.namespace == SHARED

    def _holds(self, principal: Principal, resource: str, action: str) -> bool:
        permission = Permission(resource, action)
        if principal.permissions is None:
            return permission != METRICS_READ  # figures of all teams
        return principal.holds(permission)

    def _owns(self, principal: Principal, namespace: str) -> bool:
        if principal.team is not None and normal(principal.team) == normal(namespace):
            return True
        return principal.reaches(namespace)


def normal(name: str) -> str:
    """Write the name of a team or namespace in the one way in which both are compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def load_coordinator(path: str) -> Coordinator:
    """Make the coordinator that the settings name.

    Args:
        path: As `package.module:Class`; searched for in the current directory too.

    Raises:
        InvalidSettings: There is none, or it is none.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise _wrong(path, "write it as package.module:Class")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever a module of others does when it is imported
        told = f"{type(error).__name__}: {error}"
        raise _wrong(path, f"{module} cannot be imported ({told})") from error
    if found is None:
        raise _wrong(path, f"{module} has no {name}")
    if not (isinstance(found, type) and issubclass(found, Coordinator)):
        raise _wrong(path, f"{name} is no subclass of tasker.api.auth.Coordinator")
    try:
        return found()
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise _wrong(path, f"it cannot be made without arguments ({told})") from error


def _wrong(path: str, why: str) -> InvalidSettings:
    return InvalidSettings(f"auth.coordinator = {path!r}: {why}")
