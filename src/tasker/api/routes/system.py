"""Health, metrics and analytics."""

import importlib.metadata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from tasker.analytics.failures import FailureCause, group_failures
from tasker.analytics.model import MOST_HOURS, Bottlenecks, Performance, Window
from tasker.api.authorization import authorize, visible_namespaces
from tasker.api.dependencies import ApiOf
from tasker.api.fields import Namespace
from tasker.api.responses import JsonResponse
from tasker.api.routing import Routes
from tasker.api.views.system import (
    HealthView,
    ReadinessView,
)
from tasker.observe.metrics import CONTENT_TYPE
from tasker.teams.permissions import ANALYTICS_READ, METRICS_READ

health = Routes("health")
analytics = Routes("analytics", "/v1/analytics")
failures = Routes("analytics", "/v1/failures")

VERSION = importlib.metadata.version("tasker-workflows")
Hours = Annotated[float, Query(gt=0, le=MOST_HOURS, description="The window, in hours before now.")]
Named = Annotated[str | None, Query(max_length=128)]


@health.add("GET", "/health", response=HealthView)
async def get_health() -> JsonResponse:
    """Report that the server responds."""
    return JsonResponse(_health_view("healthy"))


@health.add("GET", "/live", response=HealthView)
@health.add("GET", "/health/live", response=HealthView)
async def get_liveness() -> JsonResponse:
    """Report that the process is alive, even if the store is unreachable."""
    return JsonResponse(_health_view("alive"))


def _health_view(status: str) -> HealthView:
    return {
        "status": status,
        "timestamp": datetime.now(UTC),
        "service": "tasker",
        "version": VERSION,
    }


@health.add("GET", "/ready", response=ReadinessView, refuses=("not_ready",))
@health.add("GET", "/health/ready", response=ReadinessView, refuses=("not_ready",))
async def get_readiness(api: ApiOf) -> JsonResponse:
    """Report whether the server can do its work, or which checks failed."""
    return JsonResponse(await api.readiness.report())


@health.add(
    "GET",
    "/metrics",
    METRICS_READ,
    response=None,
    description="Metrics of this process and of the store, in the text format of Prometheus.",
    media_type="text/plain",
)
async def get_metrics(request: Request, api: ApiOf) -> Response:
    """Read the metrics in Prometheus format."""
    await authorize(request, METRICS_READ)
    return Response(await api.metrics_text.text(), media_type=CONTENT_TYPE)


@analytics.add(
    "GET",
    "/performance",
    ANALYTICS_READ,
    response=Performance,
)
async def get_performance(
    request: Request,
    api: ApiOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
) -> JsonResponse:
    """Report durations, rates and outcomes of the tasks of the last hours."""
    window = await _requested_window(request, hours, namespace, name, version)
    return JsonResponse(await api.store.performance(window))


@failures.add("GET", "", ANALYTICS_READ, response=list[FailureCause])
async def list_failures(
    request: Request,
    api: ApiOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
) -> JsonResponse:
    """List causes of failures that stopped tasks, the one that stopped the most first.

    At most the newest 1,000 failed tasks of the last hours are read.
    """
    window = await _requested_window(request, hours, namespace, name, version)
    failed = await api.store.failed_steps(window)
    now = datetime.now(UTC)
    return JsonResponse(group_failures(failed, now - timedelta(hours=hours), now))


@analytics.add(
    "GET",
    "/bottlenecks",
    ANALYTICS_READ,
    response=Bottlenecks,
)
async def get_bottlenecks(
    request: Request,
    api: ApiOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    min_executions: Annotated[
        int,
        Query(ge=1, le=1_000_000, description="Omit steps with fewer executions."),
    ] = 1,
) -> JsonResponse:
    """Report slow and failing steps, errors, and steps that block others."""
    window = await _requested_window(request, hours, namespace, name, version)
    bottlenecks = await api.store.bottlenecks(window, limit=limit, min_executions=min_executions)
    return JsonResponse(bottlenecks)


async def _requested_window(
    request: Request, hours: float, namespace: str | None, *rest: Any
) -> Window:
    """Return the requested window, restricted to the namespaces that the caller may see."""
    name, version = rest
    await authorize(request, ANALYTICS_READ, namespace=namespace, name=name, version=version)
    visible = None if namespace else await visible_namespaces(request, ANALYTICS_READ)
    return Window(hours=hours, namespace=namespace, name=name, version=version, visible=visible)
