"""Restricts a server without authentication to requests addressed to a local name.

Otherwise, a page open in a local browser could call the server: through a DNS name that resolves to
this machine, or with requests that need no CORS preflight.
"""

from collections.abc import Awaitable, Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from tasker.api.headers import first_header
from tasker.api.problems import Problem
from tasker.api.server import is_loopback


class LocalOnlyMiddleware:
    """Rejects requests with a foreign `Host`, or from pages of foreign origins.

    Args:
        app: The application.
        origins: Allowed origins.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str] = ()) -> None:
        self.app = app
        self._origins = frozenset(origins)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own, which every waiting request would keep in memory.
        if scope["type"] != "http" or self._is_allowed(scope):
            return self.app(scope, receive, send)
        problem = Problem(
            "forbidden",
            "Authentication is disabled, so the server accepts only requests that are addressed to"
            " 127.0.0.1 or localhost, and no requests from pages of other origins.",
        )
        return problem.to_response(scope)(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        origin = first_header(scope, "origin")
        if origin is None and first_header(scope, "sec-fetch-site") == "cross-site":
            # An image or a script shows other sites only whether the request succeeded.
            return first_header(scope, "sec-fetch-mode") == "navigate" and self._is_local_host(
                scope
            )
        own_page = origin is None or origin in self._origins or _is_local_url(origin)
        return own_page and self._is_local_host(scope)

    def _is_local_host(self, scope: Scope) -> bool:
        return _is_local_url(f"//{first_header(scope, 'host') or ''}")


def _is_local_url(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and (host.endswith(".localhost") or is_loopback(host))
