"""Figures and causes of failures, based on the API."""

from datetime import datetime
from typing import Any

from tasker.analytics.failures import FailureCause, FailureTriage
from tasker.analytics.figures import Chart, Metric, SeriesGrouping
from tasker.analytics.model import AnalysisWindow, Bottlenecks, Performance, SystemStatus
from tasker.client import decode
from tasker.client.analytics import (
    AnalyticsClient,
    FailureClient,
    check_fingerprint,
    make_mute,
    parse_grouping,
    parse_metric,
)
from tasker.client.requests import ApiRequestSender
from tasker.client.templates import DEFAULT_NAMESPACE


class HttpFailures(FailureClient):
    """Implements `FailureClient` with the API."""

    def __init__(self, requests: ApiRequestSender) -> None:
        self._requests = requests

    async def list(self, window: AnalysisWindow | None = None) -> list[FailureCause]:
        query = _window_to_query(window or AnalysisWindow())
        return decode.failure_causes(await self._requests.get("/v1/failures", **query))

    async def assign(
        self,
        fingerprint: str,
        assignee: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        return await self._send_triage_change(fingerprint, namespace, reason, assignee=assignee)

    async def set_note(
        self, fingerprint: str, note: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        return await self._send_triage_change(fingerprint, namespace, reason, note=note)

    async def mute(
        self,
        fingerprint: str,
        *,
        until: datetime | None = None,
        below: str | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        mute = make_mute(until, below)
        return await self._send_triage_change(
            fingerprint,
            namespace,
            reason,
            muted_until=None if mute.until is None else mute.until.isoformat(),
            muted_below=mute.below,
        )

    async def unmute(
        self, fingerprint: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        return await self._send_triage_change(
            fingerprint, namespace, reason, muted_until=None, muted_below=None
        )

    async def _send_triage_change(
        self, fingerprint: str, namespace: str, reason: str, **changes: str | None
    ) -> FailureTriage:
        check_fingerprint(fingerprint)
        body = {"namespace": namespace, **changes, "reason": reason}
        read = await self._requests.send("PATCH", f"/v1/failures/{fingerprint}", body=body)
        return decode.failure_triage(read)


class HttpAnalytics(AnalyticsClient):
    """Implements the methods of `AnalyticsClient` that return figures, with the API."""

    _requests: ApiRequestSender

    async def performance(self, window: AnalysisWindow) -> Performance:
        return decode.performance(
            await self._requests.get("/v1/analytics/performance", **_window_to_query(window))
        )

    async def bottlenecks(
        self, window: AnalysisWindow, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        read = await self._requests.get(
            "/v1/analytics/bottlenecks",
            **_window_to_query(window),
            limit=limit,
            min_executions=min_executions,
        )
        return decode.bottlenecks(read)

    async def series(
        self,
        metric: Metric | str = Metric.ENDED,
        window: AnalysisWindow | None = None,
        *,
        by: SeriesGrouping | str = SeriesGrouping.NONE,
        step_seconds: int | None = None,
    ) -> Chart:
        window = window or AnalysisWindow()
        read = await self._requests.get(
            "/v1/analytics/series",
            metric=parse_metric(metric).value,
            by=parse_grouping(by).value,
            hours=window.hours,
            step=step_seconds,
            namespace=window.namespace,
            name=window.name,
        )
        return decode.chart(read)

    async def system(self) -> SystemStatus:
        return decode.system_status(await self._requests.get("/v1/system"))


def _window_to_query(window: AnalysisWindow) -> dict[str, Any]:
    return {
        "hours": window.hours,
        "namespace": window.namespace,
        "name": window.name,
        "version": window.version,
    }
