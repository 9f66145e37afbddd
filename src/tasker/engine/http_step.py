"""Runs `http:` steps: the requests that templates declare instead of handlers.

Templates are data that other teams write, so requests are restricted: to the hosts of the
namespace's policy, to public addresses unless the worker's settings allow others, and in size and
time. A host's address is resolved once, checked, and then connected to.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import httpx

from tasker import codec
from tasker.durations import human_duration
from tasker.engine.checked_transport import Network, open_address_checked_client
from tasker.errors import InvalidExpression, PermanentError
from tasker.handlers import AsyncContext
from tasker.handlers.http import add_idempotency_header, check_response, connection_error
from tasker.model import HttpCall, Json, JsonText
from tasker.teams.model import NamespacePolicy
from tasker.template.http import UrlHost, parse_url_host, render_body, render_header, render_url

MOST_REDIRECTS = 5
MOST_BYTES = 1 << 20  #: of a request's body, and of a response's
_FRESH = 5.0  #: seconds for which a policy is cached
_DROPPED = frozenset({"set-cookie", "connection", "keep-alive", "transfer-encoding"})

ReadPolicy: TypeAlias = Callable[[str], Awaitable[NamespacePolicy | None]]


class HttpStepHandler:
    """The built-in handler of `http:` steps.

    Args:
        read_policy: Returns the policy of a namespace, which lists the hosts to call.
        private_networks: Networks that may be reached besides public addresses.
    """

    def __init__(self, read_policy: ReadPolicy, private_networks: Iterable[Network] = ()) -> None:
        self._read_policy = read_policy
        self._policies: dict[str, tuple[float, NamespacePolicy | None]] = {}
        self._client = open_address_checked_client(private_networks)

    async def call(self, ctx: AsyncContext) -> dict[str, Json]:
        """Send the request of a step, and return the response's status, headers and body.

        Raises:
            PermanentError: The host is not allowed, the task's values do not form a valid request,
                the response's status is permanent, or its body is unusable.
            RetryableError: The response's status is retryable, or there was no response.
        """
        call = ctx._facts.spec.http
        if call is None:
            raise PermanentError("the step declares no http call", code="HTTP_INVALID_REQUEST")
        answer = await self._send_with_redirects(
            self._build_request(call, ctx), call, ctx.namespace
        )
        response = check_response(answer.response, classify=call.classify)
        if answer.is_cut:
            raise PermanentError(
                f"the response is larger than {MOST_BYTES:,} bytes", code="HTTP_TOO_LARGE"
            )
        return {
            "status": response.status_code,
            "headers": {
                name: value for name, value in response.headers.items() if name not in _DROPPED
            },
            "body": _decode_body(response),
        }

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

    # -- requests

    def _build_request(self, call: HttpCall, ctx: AsyncContext) -> httpx.Request:
        names: Mapping[str, Any] = {
            "input": ctx.input,
            "results": ctx.results,
            "completion_url": ctx.completion_url,
            **ctx.items,
        }
        try:
            url = render_url(call.url, names)
            headers = {name: render_header(text, names) for name, text in call.headers.items()}
            content, kind = _encode_body(render_body(call.body, names))
        except InvalidExpression as error:
            raise PermanentError(str(error), code="HTTP_INVALID_REQUEST") from None
        headers = {"Content-Type": kind, "Accept-Encoding": "identity"} | headers
        if content is None or any(name.lower() == "content-type" for name in call.headers):
            del headers["Content-Type"]
        try:
            parse_url_host(url)
            return self._client.build_request(
                call.method,
                url,
                headers=add_idempotency_header(ctx, call.method, headers),
                content=content,
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise PermanentError(
                f"cannot call {url[:200]!r}: {error}", code="HTTP_INVALID_REQUEST"
            ) from None

    async def _send_with_redirects(
        self, request: httpx.Request, call: HttpCall, namespace: str
    ) -> "_BufferedResponse":
        """Send a request and follow redirects to the same host."""
        shown = f"{request.method} {request.url.copy_with(query=None)}"
        first = parse_url_host(str(request.url))
        seconds = call.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                for _ in range(MOST_REDIRECTS + 1):
                    await self._require_host_allowed(first, namespace)
                    answer, redirected = await self._send_once(request)
                    if redirected is None:
                        return answer
                    request = redirected
                    if parse_url_host(str(request.url)) != first:
                        raise PermanentError(
                            f"{shown} was redirected to another host: {request.url.host}",
                            code="HTTP_REDIRECT",
                        )
        except TimeoutError:
            late = httpx.ReadTimeout(f"there was no response within {human_duration(seconds)}")
            raise connection_error(late, shown) from None
        except httpx.TransportError as error:
            raise connection_error(error, shown) from error
        raise PermanentError(
            f"{shown} was redirected more than {MOST_REDIRECTS} times", code="HTTP_REDIRECT"
        )

    async def _send_once(
        self, request: httpx.Request
    ) -> tuple["_BufferedResponse", httpx.Request | None]:
        """Send one request; return its response and, if it is redirected, the next request."""
        streamed = await self._client.send(request, stream=True)
        try:
            return await _read_response(streamed), streamed.next_request
        finally:
            await streamed.aclose()

    # -- policies

    async def _require_host_allowed(self, host: UrlHost, namespace: str) -> None:
        policy = await self._load_policy(namespace)
        if policy is None or not policy.allows_http(host.name, host.port):
            listed = ", ".join(policy.http_hosts) if policy else ""
            raise PermanentError(
                f"{host} is not allowed: the http_hosts of namespace {namespace!r} are"
                f" {listed or 'empty'}",
                code="HTTP_HOST_NOT_ALLOWED",
            )

    async def _load_policy(self, namespace: str) -> NamespacePolicy | None:
        read, policy = self._policies.get(namespace, (0.0, None))
        if not read or time.monotonic() - read >= _FRESH:
            policy = await self._read_policy(namespace)
            self._policies[namespace] = (time.monotonic(), policy)
        return policy


class _BufferedResponse(NamedTuple):
    """A response whose body was read."""

    response: httpx.Response
    is_cut: bool  #: whether the body is longer than `MOST_BYTES`


async def _read_response(streamed: httpx.Response) -> _BufferedResponse:
    """Read the body of a response, no further than its limit."""
    encoding = streamed.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":  # none was accepted, and small bodies can decode to huge ones
        raise PermanentError(
            f"the response has the content encoding {encoding!r}, which the request did not accept",
            code="HTTP_UNUSABLE_BODY",
        )
    content = b""
    async for chunk in streamed.aiter_raw():
        content += chunk
        if len(content) > MOST_BYTES:
            break
    cut = len(content) > MOST_BYTES
    headers = [(name, value) for name, value in streamed.headers.multi_items()]
    response = httpx.Response(
        streamed.status_code,
        headers=headers,
        content=content[:MOST_BYTES],
        request=streamed.request,
        extensions={"reason_phrase": streamed.extensions.get("reason_phrase", b"")},
    )
    return _BufferedResponse(response, cut)


def _encode_body(body: Json) -> tuple[bytes | None, str]:
    """Return the content of a request, and its type.

    Raises:
        PermanentError: It is too large.
    """
    if body is None:
        return None, ""
    if isinstance(body, str):
        content, kind = body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    else:
        content, kind = codec.dumps(body, what="the body").encode(), "application/json"
    if len(content) > MOST_BYTES:
        raise PermanentError(f"the body is larger than {MOST_BYTES:,} bytes", code="HTTP_TOO_LARGE")
    return content, kind


def _decode_body(response: httpx.Response) -> Json:
    """Return the body as JSON if its type says so, else as text; None if it is empty.

    Raises:
        PermanentError: It is neither. The request is not repeated, because it had its effect.
    """
    if not response.content:
        return None
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    try:
        if is_json:
            value: Json = codec.loads(JsonText(response.content.decode()))
            return value
        text = response.content.decode(response.charset_encoding or "utf-8")
    except (ValueError, LookupError) as error:
        raise PermanentError(
            f"the response cannot be read as {kind or 'text'}: {error}", code="HTTP_UNUSABLE_BODY"
        ) from None
    return text.replace("\0", "")
