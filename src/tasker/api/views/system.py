"""Health in responses."""

from datetime import datetime
from typing import NotRequired

from typing_extensions import TypedDict

from tasker.api.views import documented


@documented
class HealthView(TypedDict):
    """The response of a running server."""

    status: str
    """`healthy`, or `alive`."""
    timestamp: datetime
    service: str
    version: str


@documented
class ReadinessCheckView(TypedDict):
    """One check of a dependency of the server."""

    status: str
    """`healthy` or `unhealthy`."""
    duration_ms: float
    message: NotRequired[str]


@documented
class ReadinessView(TypedDict):
    """The response of a server that is ready."""

    status: str
    """`ready`."""
    ready: bool
    timestamp: datetime
    checks: dict[str, ReadinessCheckView]
    failed_checks: list[str]
