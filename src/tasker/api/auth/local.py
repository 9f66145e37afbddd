"""Keeping a server that asks nobody who they are to this machine's own programs and pages.

Whoever can open a page in a browser here could otherwise use that browser to call it: by
a name of his own that leads to this machine, or by sending what needs no leave to be sent.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from tasker.api.headers import header
from tasker.api.problems import Problem
from tasker.api.server import is_loopback


class LocalOnly:
    """Refuses requests that call this machine by another name, or come from others' pages.

    Args:
        app: Behind it.
        origins: Whose pages may call all the same.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str] = ()) -> None:
        self.app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._meant(scope):
            await self.app(scope, receive, send)
            return
        problem = Problem(
            "forbidden",
            "Without authentication only this machine is served, called by its own name, as"
            " 127.0.0.1 or localhost, and not from the pages of others.",
        )
        await problem.reply(scope)(scope, receive, send)

    def _meant(self, scope: Scope) -> bool:
        origin = header(scope, "origin")
        own_page = origin is None or origin in self._origins or _is_local(origin)
        return own_page and _is_local(f"//{header(scope, 'host') or ''}")


def _is_local(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and (host.endswith(".localhost") or is_loopback(host))
