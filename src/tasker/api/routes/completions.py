"""Completion of external steps by other systems, which have a token instead of a credential."""

from typing import Annotated, Any

from fastapi import Depends, Path
from starlette.requests import Request
from typing_extensions import TypedDict

from tasker.api.dependencies import ApiServicesOf
from tasker.api.headers import client_address
from tasker.api.rate_limits import CallerRateLimits
from tasker.api.requests import JsonBodyParser, RequestBody
from tasker.api.responses import JsonResponse
from tasker.api.routing import READS_BODY, Routes
from tasker.codec import DEFAULT_LIMIT, dumps
from tasker.completions import COMPLETE, hash_token
from tasker.errors import InvalidInput, NotFound

routes = Routes("completions", COMPLETE)

RATE, BURST = 20.0, 100  #: requests per second from one address
_limits = CallerRateLimits(RATE, BURST)


class CompletionBody(RequestBody):
    """Completes a step: with either `result` or `error`. At most 1 MiB."""

    result: Any = None
    """The result of the step."""
    error: Any = None
    """The error with which the step fails: a string, or an object with `message`, `code` and
    `details`."""


class CompletionResponse(TypedDict):
    """The step was completed, or will be completed when its attempt ends."""

    completed: bool


async def _limit_completion_rate(request: Request) -> None:
    _limits.admit(client_address(request.scope))


@routes.add(
    "POST",
    "/{token}",
    admit=_limit_completion_rate,
    response=CompletionResponse,
    error_codes=(
        *READS_BODY,
        "invalid_request",
        "invalid_input",
        "not_found",
        "rate_limited",
    ),
)
async def complete_step(
    api: ApiServicesOf,
    token: Annotated[str, Path(max_length=200)],
    body: Annotated[CompletionBody, Depends(JsonBodyParser(CompletionBody))],
) -> JsonResponse:
    """Complete an external step by its token.

    The response does not reveal whether the token is unknown or its step has ended.
    """
    given = body.model_fields_set
    if len(given & {"result", "error"}) != 1:
        raise InvalidInput("the body must have exactly one of 'result' and 'error'")
    value = {"error": body.error} if "error" in given else {"result": body.result}
    text = dumps(value, what="the completion", limit=DEFAULT_LIMIT)
    if not await api.store.complete_external_step(hash_token(token), text):
        raise NotFound("no step waits for this completion")
    return JsonResponse(CompletionResponse(completed=True))
