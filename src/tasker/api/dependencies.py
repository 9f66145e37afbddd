"""Objects that the routes of one application share."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends
from starlette.requests import Request

from tasker.api.auth.authorizer import Authorizer
from tasker.api.health import ReadinessChecker
from tasker.api.metrics import MetricsRenderer
from tasker.api.rate_limits import CallerRateLimits
from tasker.api.shared import SharedResponses
from tasker.api.waiting import TaskWatcher
from tasker.client import LocalClient
from tasker.client.masking import SensitiveDataFinder
from tasker.client.templates import TemplateCache
from tasker.model import TemplateName
from tasker.observe.metrics import Metrics
from tasker.remote.service import RemoteWorkerService
from tasker.settings import ServerSettings
from tasker.store.protocol import Store
from tasker.ttl_cache import TTLCache


@dataclass(slots=True, kw_only=True)
class ApiServices:
    """Objects that the routes of one application share."""

    store: Store
    settings: ServerSettings
    client: LocalClient
    templates: TemplateCache
    sensitive: SensitiveDataFinder
    watcher: TaskWatcher
    authorizer: Authorizer
    rate_limits: CallerRateLimits
    logins: CallerRateLimits
    """Limits the login attempts from each address."""
    metrics: Metrics
    metrics_text: MetricsRenderer
    readiness: ReadinessChecker
    count_unserved_roots: TTLCache[TemplateName, int]
    """For each template, the number of its roots that no live worker can run; cached for at most
    one second."""
    shared: SharedResponses
    remote_workers: RemoteWorkerService
    closing: asyncio.Event
    """Set when the server begins to shut down; long polls and streams then end."""


def api_services_of(request: Request) -> ApiServices:
    """Return the objects that the routes of a request's application share."""
    api: ApiServices | None = getattr(request.app.state, "tasker", None)
    if api is None:
        raise RuntimeError("the application was not started: its ASGI lifespan must run")
    return api


async def _api_services_dependency(request: Request) -> ApiServices:
    """The same as a dependency. It is async because FastAPI calls plain functions in a thread."""
    return api_services_of(request)


ApiServicesOf: TypeAlias = Annotated[ApiServices, Depends(_api_services_dependency)]
