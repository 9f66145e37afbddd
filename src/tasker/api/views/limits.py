"""Limits in responses."""

from datetime import datetime

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.model import LimitInfo, LimitSetting, LimitValues


@documented
class LimitView(TypedDict):
    """The limit of the steps that share a key."""

    namespace: str
    """The namespace; empty for a key that all namespaces share."""
    key: str
    concurrency: int | None
    """Maximum number of steps in progress."""
    rate: str | None
    """Average rate at which steps may start, such as `100/s`."""
    burst: int | None
    set_by: str | None
    """The key or pattern whose setting applies; null if the limits that templates declare apply."""
    running: int
    waiting: int
    """Number of due steps that wait for the limit; at most 10,000 are counted."""


@documented
class LimitSettingView(TypedDict):
    """A limit that an operator set for a key or a pattern of keys."""

    pattern: str
    concurrency: int | None
    rate: str | None
    burst: int | None
    updated_by: str
    updated_at: datetime


class LimitList(TypedDict):
    """Limits by key, and the limits set by operators."""

    limits: list[LimitView]
    settings: list[LimitSettingView]


@documented
class LimitSetResponse(TypedDict):
    """The bounds that were set."""

    key: str
    concurrency: int | None
    rate: str | None
    burst: int | None


class LimitUnsetResponse(TypedDict):
    """The key or pattern whose setting was removed."""

    key: str


def limit_view(limit: LimitInfo) -> LimitView:
    """Return the view of a limit."""
    return {
        "namespace": limit.namespace,
        "key": limit.key,
        "concurrency": limit.values.concurrency,
        "rate": format_rate(limit.values),
        "burst": limit.values.burst,
        "set_by": limit.set_by,
        "running": limit.running,
        "waiting": limit.waiting,
    }


def limit_setting_view(setting: LimitSetting) -> LimitSettingView:
    """Return the view of a setting."""
    return {
        "pattern": setting.pattern,
        "concurrency": setting.values.concurrency,
        "rate": format_rate(setting.values),
        "burst": setting.values.burst,
        "updated_by": setting.updated_by,
        "updated_at": setting.updated_at,
    }


def format_rate(values: LimitValues) -> str | None:
    """Return a rate as text, or None."""
    return str(values.rate) if values.rate else None
