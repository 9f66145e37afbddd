"""What the routes of one application share."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends
from starlette.requests import Request

from tasker.api.auth.authorizer import Authorizer
from tasker.api.health import Readiness
from tasker.api.metrics import MetricsEndpoint
from tasker.api.rates import Rates
from tasker.api.watch import Watch
from tasker.client import LocalClient
from tasker.client.templates import TemplateCache
from tasker.observe.metrics import Metrics
from tasker.settings import ServerSettings
from tasker.store.protocol import Store


@dataclass(slots=True, kw_only=True)
class Api:
    """What the routes of one application share."""

    store: Store
    settings: ServerSettings
    client: LocalClient
    catalogue: TemplateCache
    watch: Watch
    gate: Authorizer
    rates: Rates
    metrics: Metrics
    scrape: MetricsEndpoint
    readiness: Readiness
    closing: asyncio.Event
    """Set when the server begins to shut down: waits and streams then end."""


def api_of(request: Request) -> Api:
    """Tell what the application of a request shares."""
    api: Api | None = getattr(request.app.state, "tasker", None)
    if api is None:
        raise RuntimeError("the application was not started: run it with its lifespan")
    return api


async def _api_of(request: Request) -> Api:
    """The same as a dependency: what is not async, the framework calls in another thread."""
    return api_of(request)


ApiOf: TypeAlias = Annotated[Api, Depends(_api_of)]
