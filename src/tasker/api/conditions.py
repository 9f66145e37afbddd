"""Conditional requests: ETags of tasks, `If-Match` and `If-None-Match`."""

import re
from typing import Annotated, TypeAlias

from fastapi import Depends, Header

from tasker.api.problems import Problem, RequestFault
from tasker.model import Task

_ETAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e]*)"\s*')


def etag_headers(task: Task) -> dict[str, str]:
    """Return the header with a task's ETag."""
    return {"ETag": f'"{task.etag}"'} if task.etag else {}


async def _parse_if_match(
    if_match: Annotated[
        str | None,
        Header(description="An ETag; the request is rejected if the ETag is out of date."),
    ] = None,
) -> str | None:
    """Return the ETag that the object must have, or None if any will do. Raises Problem."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = _ETAG.fullmatch(if_match)
    if match is None:
        message = "must be one ETag in double quotes, or *"
        fault: RequestFault = {"path": "header.If-Match", "message": message}
        raise Problem("invalid_request", f"header.If-Match {message}", errors=[fault])
    return match[1]


async def _parse_if_none_match(
    if_none_match: Annotated[
        str | None,
        Header(description="An ETag; if it matches the task's ETag, the response is 304."),
    ] = None,
) -> frozenset[str]:
    """Return the ETags that the caller already has."""
    return frozenset(match[1] for match in _ETAG.finditer(if_none_match or ""))


IfMatch: TypeAlias = Annotated[str | None, Depends(_parse_if_match)]
IfNoneMatch: TypeAlias = Annotated[frozenset[str], Depends(_parse_if_none_match)]
