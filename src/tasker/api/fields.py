"""Types of request fields and parameters: names, ids, strings, times."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from tasker.client.fields import EARLIEST, LATEST
from tasker.model import TaskId

Text: TypeAlias = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
"""Free text without NUL characters, which PostgreSQL cannot store."""

Line: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""A short text without control characters."""

TemplateRef: TypeAlias = Annotated[
    str, StringConstraints(max_length=400, pattern=r"^[A-Za-z0-9_.@^~<>=,*+ -]+$")
]
"""A template: `name` or `namespace.name`, optionally followed by `@version`."""

Namespace: TypeAlias = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
]
Version: TypeAlias = Annotated[
    str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9.^~<>=,*+ -]*$")
]
"""An exact version, a range (`^2.1`), or `latest`."""

AttributeName: TypeAlias = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")
]
Attribute: TypeAlias = Annotated[
    str,
    StringConstraints(
        max_length=1064, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,62}=[^\x00-\x1f\x7f]+$"
    ),
]
"""`NAME=VALUE`."""

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

Uuid: TypeAlias = Annotated[str, StringConstraints(pattern=UUID_PATTERN, to_lower=True)]


def _convert_to_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 (UTC)") from None


Instant: TypeAlias = Annotated[AwareDatetime, AfterValidator(_convert_to_utc)]


def _require_supported_year(at: datetime) -> datetime:
    if not EARLIEST <= at <= LATEST:
        raise ValueError(f"must be between the years {EARLIEST.year} and {LATEST.year}")
    return at


StartTime: TypeAlias = Annotated[AwareDatetime, AfterValidator(_require_supported_year)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]

Delay: TypeAlias = Annotated[float, Field(ge=0, le=10 * 365 * 86400)]

TaskPath: TypeAlias = Annotated[TaskId, Path(pattern=UUID_PATTERN, description="The task's id.")]
NamespacePath: TypeAlias = Annotated[str, Path(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
NamePath: TypeAlias = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
VersionPath: TypeAlias = Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9.^~<>=,*+ -]+$")]
StepPath: TypeAlias = Annotated[
    str,
    Path(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9_.\[\]-]+$",
        description="The step's name or number.",
    ),
]


def seconds_to_timedelta(length: float | None) -> timedelta | None:
    return None if length is None else timedelta(seconds=length)


JsonObject: TypeAlias = dict[str, Any]
