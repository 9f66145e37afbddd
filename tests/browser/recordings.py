"""Responses of the API that are recorded once, so that pages show the same data at each run.

The clock of a page stands still at the time of the recording. Its streams stay silent.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SILENT = """
window.EventSource = class extends EventTarget {
  static CLOSED = 2
  readyState = 1
  close() {}
}
"""  # a stream that is open, and on which nothing arrives


class Recording:
    """What the API responded to the requests of some pages, and when."""

    def __init__(self, at: datetime, pages: dict[str, str], responses: dict[str, Any]) -> None:
        self.at = at
        self.pages = pages  #: paths below `/ui/`, by name
        self.responses = responses  #: bodies, by method, path and query

    @classmethod
    def load(cls, file: Path) -> "Recording":
        """Read a recording from a file."""
        kept = json.loads(file.read_text())
        return cls(datetime.fromisoformat(kept["at"]), kept["pages"], kept["responses"])

    def save(self, file: Path) -> None:
        """Write a line for each response, in the order of their requests' text."""
        bodies = sorted(self.responses.items())
        text = ",\n".join(f"{json.dumps(key)}: {json.dumps(body)}" for key, body in bodies)
        head = f'{{"at": "{self.at.isoformat()}",\n"pages": {json.dumps(self.pages, indent=1)},\n'
        file.write_text(f'{head}"responses": {{\n{text}\n}}}}\n')

    @contextmanager
    def replayed(self, page: Any) -> Iterator[None]:
        """Answer the requests of a page from the recording.

        Raises:
            AssertionError: The page sent requests that were not recorded.
        """
        missing: list[str] = []

        def respond(route: Any) -> None:
            key = key_of(route.request)
            if key not in self.responses:
                missing.append(key)
                route.abort()
            else:
                route.fulfill(json=self.responses[key])

        page.clock.set_fixed_time(self.at)
        page.add_init_script(SILENT)
        page.route("**/v1/**", respond)
        yield
        assert [] == missing, "not recorded; `make pictures RECORD=1` records the responses again"

    @contextmanager
    def recorded(self, page: Any) -> Iterator[None]:
        """Record what a server responds to the requests of a page."""

        def record(route: Any) -> None:
            key = key_of(route.request)
            response = route.fetch()
            assert response.ok, f"{key}: {response.status}"
            body = response.json()
            self.responses[key] = body
            route.fulfill(json=body)

        page.clock.set_fixed_time(self.at)
        page.add_init_script(SILENT)
        page.route("**/v1/**", record)
        yield


def key_of(request: Any) -> str:
    """Return what is asked, as text."""
    parts = urlsplit(request.url)
    query = f"?{parts.query}" if parts.query else ""
    body = f" {request.post_data}" if request.post_data else ""
    return f"{request.method} {parts.path}{query}{body}"
