"""Health, metrics and analytics."""

import importlib.metadata
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from tasker.analytics.failures import FailureCause, FailureMute, FailureTriage, FailureTriageChange
from tasker.analytics.figures import (
    FIGURES_KEPT,
    Chart,
    Metric,
    SeriesGrouping,
)
from tasker.analytics.model import MOST_HOURS, AnalysisWindow, Bottlenecks, Performance
from tasker.api.authorization import (
    access_channel_of,
    audit_actor_of,
    authorize,
    visible_namespaces,
)
from tasker.api.dependencies import ApiServicesOf
from tasker.api.fields import Instant, Namespace, Text, Version
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routing import READS_BODY, Routes
from tasker.api.views.system import (
    HealthView,
    ReadinessView,
)
from tasker.client.analytics import LONGEST_ASSIGNEE, list_failure_causes, read_series
from tasker.observe.metrics import CONTENT_TYPE
from tasker.store.protocol import AuditNote
from tasker.teams.permissions import ANALYTICS_READ, METRICS_READ, TASKS_RETRY
from tasker.versions import parse

health = Routes("health")
analytics = Routes("analytics", "/v1/analytics")
failures = Routes("analytics", "/v1/failures")

VERSION = importlib.metadata.version("tasker-workflows")
MOST_SERIES_HOURS = FIGURES_KEPT.total_seconds() / 3600
Hours = Annotated[
    float,
    Query(gt=0, le=MOST_HOURS, description="Length of the covered period in hours, up to now."),
]
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


@health.add("GET", "/ready", response=ReadinessView, error_codes=("not_ready",))
@health.add("GET", "/health/ready", response=ReadinessView, error_codes=("not_ready",))
async def get_readiness(api: ApiServicesOf) -> JsonResponse:
    """Report whether the server is ready for requests, or which checks failed."""
    return JsonResponse(await api.readiness.require_ready())


@health.add(
    "GET",
    "/metrics",
    METRICS_READ,
    response=None,
    description="Metrics of this process and of the store, in the text format of Prometheus.",
    media_type="text/plain",
)
async def get_metrics(request: Request, api: ApiServicesOf) -> Response:
    """Read the metrics in Prometheus format."""
    await authorize(request, METRICS_READ)
    return Response(await api.metrics_text.render(), media_type=CONTENT_TYPE)


@analytics.add(
    "GET",
    "/performance",
    ANALYTICS_READ,
    response=Performance,
)
async def get_performance(
    request: Request,
    api: ApiServicesOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
) -> JsonResponse:
    """Report durations, rates and outcomes of the tasks of the last hours."""
    window = await _authorized_analysis_window(request, hours, namespace, name, version)

    async def build_performance() -> JsonResponse:
        return JsonResponse(await api.store.performance(window))

    return await api.shared.respond(request, window, build_performance)


@analytics.add("GET", "/series", ANALYTICS_READ, response=Chart, error_codes=("invalid_input",))
async def get_series(
    request: Request,
    api: ApiServicesOf,
    metric: Metric = Metric.ENDED,
    by: SeriesGrouping = SeriesGrouping.NONE,
    hours: Annotated[float, Query(gt=0, le=MOST_SERIES_HOURS)] = 24,
    step: Annotated[int | None, Query(ge=60, le=86_400, description="Seconds.")] = None,
    namespace: Namespace | None = None,
    name: Named = None,
) -> JsonResponse:
    """Return figures per minute, or per `step`: a multiple of 60 seconds.

    Workers add their figures every few seconds, and created tasks are counted a minute later.
    Figures are kept for 14 days. `by=status` applies to `ended`.
    """
    window = await _authorized_analysis_window(request, hours, namespace, name, None)

    async def build_series() -> JsonResponse:
        return JsonResponse(await read_series(api.store, metric, window, by=by, step_seconds=step))

    return await api.shared.respond(request, (metric, by, window, step), build_series)


@failures.add("GET", "", ANALYTICS_READ, response=list[FailureCause])
async def list_causes_of_failures(
    request: Request,
    api: ApiServicesOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
) -> JsonResponse:
    """List causes of failures by the number of tasks that they stopped.

    At most the newest 1,000 failed tasks of the last hours are read.
    """
    window = await _authorized_analysis_window(request, hours, namespace, name, version)

    async def build_failure_causes() -> JsonResponse:
        return JsonResponse(await list_failure_causes(api.store, window))

    return await api.shared.respond(request, window, build_failure_causes)


class FailureTriageBody(RequestBody):
    """Assigns or mutes a cause of failures; absent fields keep their values."""

    namespace: Namespace
    assignee: Annotated[str, Field(max_length=LONGEST_ASSIGNEE)] | None = None
    """The person or team to whom the cause is assigned; "" removes the assignment."""
    note: Text | None = None
    muted_until: Instant | None = None
    """Time until which the cause is muted. If this field or `muted_below` is present, even as null,
    both fields are replaced."""
    muted_below: Version | None = None
    """The cause is muted as long as it occurs only in versions of the workflow below this one."""
    reason: Text = ""


@failures.add(
    "PATCH",
    "/{fingerprint}",
    TASKS_RETRY,
    response=FailureTriage,
    error_codes=READS_BODY,
)
async def change_failure_triage(
    request: Request,
    api: ApiServicesOf,
    fingerprint: Annotated[str, Path(pattern="^[0-9a-f]{16}$")],
    body: Annotated[FailureTriageBody, Depends(JsonBodyParser(FailureTriageBody))],
) -> JsonResponse:
    """Assign a cause of failures, add a note to it, or mute it."""
    await authorize(request, TASKS_RETRY, namespace=body.namespace)
    if body.muted_below is not None:
        parse(body.muted_below)
    mutes = body.model_fields_set & {"muted_until", "muted_below"}
    change = FailureTriageChange(
        assignee=body.assignee,
        note=body.note,
        mute=FailureMute(until=body.muted_until, below=body.muted_below) if mutes else None,
    )
    act = AuditNote(
        actor=audit_actor_of(request), reason=body.reason, via=access_channel_of(request)
    )
    stored = await api.store.change_failure_triage(body.namespace, fingerprint, change, act)
    return JsonResponse(stored)


@analytics.add(
    "GET",
    "/bottlenecks",
    ANALYTICS_READ,
    response=Bottlenecks,
)
async def get_bottlenecks(
    request: Request,
    api: ApiServicesOf,
    hours: Hours = 24,
    namespace: Namespace | None = None,
    name: Named = None,
    version: Named = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    min_executions: Annotated[
        int,
        Query(ge=1, le=1_000_000, description="Omit steps that ran less often than this."),
    ] = 1,
) -> JsonResponse:
    """Report slow and failing steps, errors, and steps that block others."""
    window = await _authorized_analysis_window(request, hours, namespace, name, version)

    async def build_bottlenecks() -> JsonResponse:
        bottlenecks = await api.store.bottlenecks(
            window, limit=limit, min_executions=min_executions
        )
        return JsonResponse(bottlenecks)

    return await api.shared.respond(request, (window, limit, min_executions), build_bottlenecks)


async def _authorized_analysis_window(
    request: Request, hours: float, namespace: str | None, *rest: Any
) -> AnalysisWindow:
    """Return the requested window, restricted to the namespaces that the caller may see."""
    name, version = rest
    await authorize(request, ANALYTICS_READ, namespace=namespace, name=name, version=version)
    visible = None if namespace else await visible_namespaces(request, ANALYTICS_READ)
    return AnalysisWindow(
        hours=hours, namespace=namespace, name=name, version=version, visible=visible
    )
