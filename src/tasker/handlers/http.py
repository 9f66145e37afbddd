"""Base classes of handlers that call HTTP APIs, and the classification of responses.

Needs httpx, as in `pip install 'tasker-workflows[client]'`.
"""

import asyncio
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, NoReturn
from weakref import WeakKeyDictionary

import httpx

from tasker.durations import parse_retry_after
from tasker.errors import PermanentError, RetryableError
from tasker.handlers.context import AsyncContext, Context, SyncContext
from tasker.handlers.decorators import StepHandler
from tasker.model import HttpStatusClassification, JsonObject, StatusRange

IDEMPOTENCY_KEY = "Idempotency-Key"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  #: methods without effects
_RETRYABLE: tuple[StatusRange, ...] = ((408, 408), (425, 425), (429, 429), (500, 599))
_EXCERPT = 2_000  #: characters of a response's body kept with an error
_MESSAGE_KEYS = ("message", "error", "detail", "title")


def check_response(
    response: httpx.Response,
    *,
    accept: Collection[int] = (),
    classify: HttpStatusClassification = HttpStatusClassification(),  # noqa: B008 - immutable
) -> httpx.Response:
    """Return a response with a successful status; raise an error for any other.

    By default, 200 to 299 are successes; 408, 425, 429 and 500 to 599 are retryable; all others are
    permanent.

    Args:
        response: A response whose body has been read.
        accept: Further statuses that are returned, such as 409 for "exists already".
        classify: Statuses whose effects differ from the defaults.

    Raises:
        RetryableError: The status is retryable. The error has the code `HTTP_<status>` and the
            delay of the header `Retry-After`.
        PermanentError: Any other status. The code is `HTTP_<status>`.
    """
    status = response.status_code
    if status in accept or _contains_status(classify.success, status):
        return response
    if _contains_status(classify.permanent, status):
        _raise_status_error(response, retryable=False)
    if _contains_status(classify.retryable, status):
        _raise_status_error(response, retryable=True)
    if not response.is_success:
        _raise_status_error(response, retryable=_contains_status(_RETRYABLE, status))
    return response


def _contains_status(ranges: Iterable[StatusRange], status: int) -> bool:
    return any(low <= status <= high for low, high in ranges)


def _raise_status_error(response: httpx.Response, *, retryable: bool) -> NoReturn:
    status = response.status_code
    reason = _read_error_message(response)
    message = (
        f"{_describe_request(response)} returned {status} {response.reason_phrase}".rstrip()
        + (f": {reason}" if reason else "")
    )
    code = f"HTTP_{status}"
    details: JsonObject = {"status": status, "body": _read_text(response)[:_EXCERPT]}
    if not retryable:
        raise PermanentError(message, code=code, details=details)
    try:
        delay = parse_retry_after(response.headers.get("Retry-After"))
    except ValueError:  # a header that cannot be read does not matter
        delay = None
    raise RetryableError(message, code=code, details=details, retry_after=delay)


def _describe_request(response: httpx.Response) -> str:
    """Return the method and the URL of a request, without its query, which may hold secrets."""
    try:
        request = response.request
    except RuntimeError:  # created without a request, as in a test
        return "the request"
    return f"{request.method} {request.url.copy_with(query=None, userinfo=b'')}"


def _read_error_message(response: httpx.Response) -> str:
    """Return the message in the body of an error response, or ""."""
    try:
        body = response.json()
    except ValueError:
        return ""
    for key in _MESSAGE_KEYS if isinstance(body, dict) else ():
        value = body.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value:
            return value[:500]
    return ""


def _read_text(response: httpx.Response) -> str:
    return response.text.replace("\0", "")


def connection_error(error: httpx.TransportError, request: str) -> RetryableError:
    """Return the retryable error of a request that got no response.

    Args:
        error: What httpx raised.
        request: Method and URL, for the message.
    """
    late = isinstance(error, httpx.TimeoutException)
    return RetryableError(
        f"{request} {'timed out' if late else 'failed'}: {str(error) or type(error).__name__}",
        code="HTTP_TIMEOUT" if late else "HTTP_UNREACHABLE",
    )


def add_idempotency_header(
    context: Context, method: str, headers: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers of a request, with the step's idempotency key unless it only reads."""
    if method in _SAFE or any(name.lower() == IDEMPOTENCY_KEY.lower() for name in headers):
        return dict(headers)
    return {IDEMPOTENCY_KEY: context.idempotency_key, **headers}


class _ApiHandlerSettings(StepHandler):
    """Declarations of both base classes."""

    base_url: ClassVar[str] = ""
    """Prefix of all paths, such as `https://api.example.com/v1`."""

    timeout: ClassVar[float] = 30.0
    """Seconds to wait for a connection, and for each part of a response."""

    headers: ClassVar[Mapping[str, str]] = {}
    """Headers of all requests."""

    classify: ClassVar[HttpStatusClassification] = HttpStatusClassification()
    """Exceptions from the default handling of statuses."""


class ApiHandler(_ApiHandlerSettings):
    """Base class of `async` handlers that call an HTTP API.

    All instances of a class share a pool of connections. Requests contain the step's idempotency
    key unless they only read, redirects are not followed, and responses are classified by
    `check_response`.
    """

    _clients: ClassVar[
        WeakKeyDictionary[asyncio.AbstractEventLoop, dict[type["ApiHandler"], httpx.AsyncClient]]
    ] = WeakKeyDictionary()

    @classmethod
    def make_client(cls) -> httpx.AsyncClient:
        """Return a new client; override it for authentication, certificates or proxies."""
        return httpx.AsyncClient(base_url=cls.base_url, timeout=cls.timeout, headers=cls.headers)

    @property
    def client(self) -> httpx.AsyncClient:
        """The client that all instances of the class share in this event loop."""
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        client = clients.get(type(self))
        if client is None or client.is_closed:
            client = clients[type(self)] = self.make_client()
        return client

    async def request(
        self,
        context: AsyncContext,
        method: str,
        path: str,
        *,
        accept: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send a request and return its response.

        Args:
            context: The step context with the idempotency key.
            method: The method, such as "POST".
            path: The path below `base_url`, or a whole URL.
            accept: Statuses that are returned although they are not successful.
            headers: Additional headers.
            options: Further arguments of `httpx.AsyncClient.request`, such as `json` and `params`.

        Raises:
            PermanentError, RetryableError: See `check_response`. Requests without a response are
                retryable, with the code `HTTP_TIMEOUT` or `HTTP_UNREACHABLE`.
        """
        method = method.upper()
        sent = add_idempotency_header(context, method, headers or {})
        try:
            response = await self.client.request(method, path, headers=sent, **options)
        except httpx.TransportError as error:
            raise connection_error(error, f"{method} {path}") from error
        return check_response(response, accept=accept, classify=self.classify)

    async def get(self, context: AsyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a GET request; see `request`."""
        return await self.request(context, "GET", path, **options)

    async def post(self, context: AsyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a POST request; see `request`."""
        return await self.request(context, "POST", path, **options)

    async def put(self, context: AsyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a PUT request; see `request`."""
        return await self.request(context, "PUT", path, **options)

    async def delete(self, context: AsyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a DELETE request; see `request`."""
        return await self.request(context, "DELETE", path, **options)


class SyncApiHandler(_ApiHandlerSettings):
    """`ApiHandler` for handlers that are not `async`: its methods block the handler's thread."""

    _clients: ClassVar[dict[type["SyncApiHandler"], httpx.Client]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def make_client(cls) -> httpx.Client:
        """Return a new client; override it for authentication, certificates or proxies."""
        return httpx.Client(base_url=cls.base_url, timeout=cls.timeout, headers=cls.headers)

    @property
    def client(self) -> httpx.Client:
        """The client that all instances of the class share."""
        with self._lock:
            client = self._clients.get(type(self))
            if client is None or client.is_closed:
                client = self._clients[type(self)] = self.make_client()
            return client

    def request(
        self,
        context: SyncContext,
        method: str,
        path: str,
        *,
        accept: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send a request and return its response; see `ApiHandler.request`."""
        method = method.upper()
        sent = add_idempotency_header(context, method, headers or {})
        try:
            response = self.client.request(method, path, headers=sent, **options)
        except httpx.TransportError as error:
            raise connection_error(error, f"{method} {path}") from error
        return check_response(response, accept=accept, classify=self.classify)

    def get(self, context: SyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a GET request; see `request`."""
        return self.request(context, "GET", path, **options)

    def post(self, context: SyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a POST request; see `request`."""
        return self.request(context, "POST", path, **options)

    def put(self, context: SyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a PUT request; see `request`."""
        return self.request(context, "PUT", path, **options)

    def delete(self, context: SyncContext, path: str, **options: Any) -> httpx.Response:
        """Send a DELETE request; see `request`."""
        return self.request(context, "DELETE", path, **options)
