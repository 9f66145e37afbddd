"""Health, metrics, and figures of how work went."""

import importlib.metadata
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from tasker.analytics.model import MOST_HOURS, Window
from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import Namespace
from tasker.api.responses import JsonReply
from tasker.api.routing import Routes
from tasker.api.state import ApiOf
from tasker.api.views.system import (
    BottlenecksAnswer,
    HealthAnswer,
    PerformanceAnswer,
    ReadinessAnswer,
    bottlenecks_answer,
    performance_answer,
)
from tasker.observe.metrics import CONTENT_TYPE
from tasker.teams.permissions import ANALYTICS_READ, METRICS_READ

health = Routes("health")
analytics = Routes("analytics", "/v1/analytics")

VERSION = importlib.metadata.version("tasker-workflows")
Hours = Annotated[float, Query(gt=0, le=MOST_HOURS, description="How far back it looks.")]
Named = Annotated[str | None, Query(max_length=128)]


@health.add("GET", "/health", answer=HealthAnswer)
async def get_health() -> JsonReply:
    """Tell that the server is there."""
    return JsonReply(_here("healthy"))


@health.add("GET", "/live", answer=HealthAnswer)
@health.add("GET", "/health/live", answer=HealthAnswer)
async def get_liveness() -> JsonReply:
    """Tell that the process lives, whatever it can reach."""
    return JsonReply(_here("alive"))


def _here(status: str) -> HealthAnswer:
    return {
        "status": status,
        "timestamp": datetime.now(UTC),
        "service": "tasker",
        "version": VERSION,
    }


@health.add("GET", "/ready", answer=ReadinessAnswer, refuses=("not_ready",))
@health.add("GET", "/health/ready", answer=ReadinessAnswer, refuses=("not_ready",))
async def get_readiness(api: ApiOf) -> JsonReply:
    """Tell whether the server can do its work, and which check says that it cannot."""
    return JsonReply(await api.readiness.answer())


@health.add(
    "GET",
    "/metrics",
    METRICS_READ,
    answer=None,
    told="Metrics of this process and of the store, as Prometheus reads them.",
    media_type="text/plain",
)
async def get_metrics(request: Request, api: ApiOf) -> Response:
    """Read metrics."""
    await authorize(request, METRICS_READ)
    return Response(await api.scrape.text(), media_type=CONTENT_TYPE)


@analytics.add(
    "GET",
    "/performance",
    ANALYTICS_READ,
    answer=PerformanceAnswer,
    refuses=("invalid_request",),
)
async def get_performance(
    request: Request,
    api: ApiOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
) -> JsonReply:
    """Tell how the tasks of the last hours fared."""
    window = await _window(request, hours, namespace, name, version)
    return JsonReply(performance_answer(await api.store.performance(window)))


@analytics.add(
    "GET",
    "/bottlenecks",
    ANALYTICS_READ,
    answer=BottlenecksAnswer,
    refuses=("invalid_request",),
)
async def get_bottlenecks(
    request: Request,
    api: ApiOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    min_executions: Annotated[int, Query(ge=1, le=1_000_000)] = 5,
) -> JsonReply:
    """Tell what holds tasks up: slow and failing steps, errors, and what others wait for."""
    window = await _window(request, hours, namespace, name, version)
    found = await api.store.bottlenecks(window, limit=limit, min_executions=min_executions)
    return JsonReply(bottlenecks_answer(found))


async def _window(request: Request, hours: float, namespace: str | None, *rest: Any) -> Window:
    """Make the window that is asked for, of the namespaces that the caller sees."""
    name, version = rest
    await authorize(request, ANALYTICS_READ, namespace=namespace, name=name, version=version)
    visible = None if namespace else await visible_namespaces(request, ANALYTICS_READ)
    return Window(hours=hours, namespace=namespace, name=name, version=version, visible=visible)
