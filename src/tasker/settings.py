"""All settings of a server and its workers: defaults, one TOML file, the environment."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tasker.config import SchemaMode

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?", re.ASCII)


def _span(value: object) -> object:
    """Read a length of time: seconds, or a number with a unit."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    if isinstance(value, str) and (found := _SPAN.fullmatch(value.strip())):
        return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
    return value


Span = Annotated[timedelta, BeforeValidator(_span)]
"""A length of time: seconds (`30`, `0.5`) or a number with a unit (`"500ms"`, `"5m"`, `"1h"`)."""


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerSettings(Section):
    """How the server behaves."""

    host: str = "127.0.0.1"
    """Address to listen at. One that is not loopback needs authentication."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen at; 0: any that is free."""

    docs: bool = False
    """Whether `/docs` shows the API in a browser. Its page loads scripts from another host."""

    body_bytes: Annotated[int, Field(ge=1)] = 2 << 20
    """Most bytes of a request's body."""

    bulk_body_bytes: Annotated[int, Field(ge=1)] = 32 << 20
    """Most bytes of the body that creates tasks in bulk."""

    bulk_tasks: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most tasks that one request creates."""

    timeout: Span = timedelta(seconds=30)
    """Most time of a request, but of those that wait."""

    longest_wait: Span = timedelta(seconds=60)
    """Most time for which a request may ask to wait for a task."""

    longest_stream: Span = timedelta(hours=1)
    """Most time of a stream of events; clients then connect again."""

    concurrency: Annotated[int, Field(ge=1)] = 1000
    """Most requests under way at once, waits and streams not counted."""

    streams: Annotated[int, Field(ge=1)] = 1000
    """Most waits and streams under way at once."""

    rate: Annotated[float | None, Field(gt=0)] = None
    """Requests per second that each caller may send on average; absent: any number."""

    burst: Annotated[int, Field(ge=1)] = 100
    """Requests that a caller may send at once before `rate` counts."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API from a browser; none: no page may."""

    proxies: tuple[str, ...] = ()
    """Addresses of proxies whose `X-Forwarded-*` headers are believed."""

    inputs: SchemaMode = SchemaMode.ENFORCE
    """What a context that does not fit its template's `input_schema` leads to."""

    access_log: bool = True
    """Whether every request is logged."""

    grace: Span = timedelta(seconds=20)
    """Time that requests under way get at shutdown."""
