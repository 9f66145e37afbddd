"""Handlers that call HTTP APIs."""

from http import HTTPStatus
from typing import Any

import httpx

from tasker_core.results import StepHandlerResult

_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
_TYPES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    410: "gone",
    422: "unprocessable_entity",
    429: "rate_limited",
    500: "internal_server_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}


class ApiResponse:
    """The response of an API.

    Args:
        response: The response of the HTTP client.
        body: Its body; None: read from the response, as JSON where it is JSON.
    """

    def __init__(self, response: httpx.Response, body: Any = None) -> None:
        self.raw_response = response
        self.status_code = response.status_code
        self.headers = {key.lower(): value for key, value in response.headers.items()}
        self.body = _read_body(response) if body is None else body

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    @property
    def is_client_error(self) -> bool:
        """Whether the status is 4xx."""
        return 400 <= self.status_code < 500

    @property
    def is_server_error(self) -> bool:
        """Whether the status is 5xx."""
        return self.status_code >= 500

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status_code in _RETRYABLE

    @property
    def retry_after(self) -> int | None:
        """Seconds that the API asks to wait; None: it does not; 60: not as a number."""
        given = self.headers.get("retry-after")
        if given is None:
            return None
        return int(given) if given.strip().isdecimal() else 60

    def to_dict(self) -> dict[str, Any]:
        """Return status, headers and body."""
        return {"status_code": self.status_code, "headers": self.headers, "body": self.body}


def _read_body(response: httpx.Response) -> Any:
    if "application/json" in response.headers.get("content-type", ""):
        try:
            return response.json()
        except ValueError:
            pass
    return response.text


class APIMixin:
    """Methods to call an HTTP API, and to make results of its responses."""

    base_url: str = ""
    default_timeout: float = 30.0
    """Seconds."""

    default_headers: dict[str, str] = {}  # noqa: RUF012 - subclasses replace it

    _client: httpx.Client | None = None

    @property
    def client(self) -> httpx.Client:
        """The HTTP client, opened on first use."""
        if self._client is None:
            self._client = httpx.Client(
                base_url=self.base_url, timeout=self.default_timeout, headers=self.default_headers
            )
        return self._client

    def close(self) -> None:
        """Close the HTTP client."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __del__(self) -> None:
        self.close()

    def request(self, method: str, path: str, **options: Any) -> ApiResponse:
        """Send a request; errors of the connection are raised as `httpx.HTTPError`."""
        return ApiResponse(self.client.request(method, path, **options))

    def get(
        self, path: str, params: Any = None, headers: Any = None, **options: Any
    ) -> ApiResponse:
        """Send a GET request."""
        return self.request("GET", path, params=params, headers=headers, **options)

    def post(
        self, path: str, json: Any = None, data: Any = None, headers: Any = None, **options: Any
    ) -> ApiResponse:
        """Send a POST request."""
        return self.request("POST", path, json=json, data=data, headers=headers, **options)

    def put(
        self, path: str, json: Any = None, data: Any = None, headers: Any = None, **options: Any
    ) -> ApiResponse:
        """Send a PUT request."""
        return self.request("PUT", path, json=json, data=data, headers=headers, **options)

    def patch(
        self, path: str, json: Any = None, data: Any = None, headers: Any = None, **options: Any
    ) -> ApiResponse:
        """Send a PATCH request."""
        return self.request("PATCH", path, json=json, data=data, headers=headers, **options)

    def delete(self, path: str, headers: Any = None, **options: Any) -> ApiResponse:
        """Send a DELETE request."""
        return self.request("DELETE", path, headers=headers, **options)

    def api_success(
        self,
        response: ApiResponse | None = None,
        result: dict[str, Any] | None = None,
        include_response: bool = True,
    ) -> StepHandlerResult:
        """Return a success with the body of a response, or with another result."""
        body = None if response is None else response.body
        if result is None:
            result = body if isinstance(body, dict) else {"data": body}
        metadata = _facts_of(response) if response is not None and include_response else {}
        return StepHandlerResult.make_success(result, metadata)

    def api_failure(self, response: ApiResponse, message: str | None = None) -> StepHandlerResult:
        """Return a failure for a response; its status decides whether it is retried."""
        metadata = _facts_of(response)
        if response.retry_after is not None:
            metadata["retry_after_seconds"] = response.retry_after
        if response.body:
            metadata["response_body"] = response.body
        return StepHandlerResult.failure(
            message or f"HTTP {response.status_code}: {_message_in(response)}",
            _type_of(response),
            response.is_retryable,
            metadata,
        )

    def connection_error(self, error: Exception, context: str | None = None) -> StepHandlerResult:
        """Return a retryable failure for an error of the connection."""
        return _transport_failure("Connection error", "connection_error", error, context)

    def timeout_error(self, error: Exception, context: str | None = None) -> StepHandlerResult:
        """Return a retryable failure for a timeout."""
        return _transport_failure("Request timeout", "timeout", error, context)


def _facts_of(response: ApiResponse) -> dict[str, Any]:
    return {"status_code": response.status_code, "headers": response.headers}


def _type_of(response: ApiResponse) -> str:
    if response.status_code in _TYPES:
        return _TYPES[response.status_code]
    if response.is_client_error:
        return "client_error"
    return "server_error" if response.is_server_error else "http_error"


def _message_in(response: ApiResponse) -> str:
    body = response.body if isinstance(response.body, dict) else {}
    for key in ("error", "message", "detail", "error_message", "msg"):
        value = body.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str):
            return value
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return "HTTP Error"


def _transport_failure(
    what: str, error_type: str, error: Exception, context: str | None
) -> StepHandlerResult:
    during = f" while {context}" if context else ""
    return StepHandlerResult.failure(
        f"{what}{during}: {error}",
        error_type,
        metadata={"exception_type": type(error).__name__},
    )
