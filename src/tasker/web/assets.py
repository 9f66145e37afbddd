"""The built files of the web UI, which `make ui` makes of the sources in `ui/`."""

import gzip
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_MEDIA_TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_BASE = "__BASE__"  #: stands in the page for the path of the server


class Asset(NamedTuple):
    """A built file."""

    content: bytes
    compressed: bytes
    media_type: str


@cache
def find_asset(name: str) -> Asset | None:
    """Return the file with a name, or None if it does not exist."""
    stem, _, ending = name.rpartition(".")
    if not stem or "/" in name or "\\" in name or ending not in _MEDIA_TYPES:
        return None
    file = files("tasker.web").joinpath("static", "assets", name)
    if not file.is_file():
        return None
    content = file.read_bytes()
    return Asset(content, gzip.compress(content, mtime=0), _MEDIA_TYPES[ending])


@cache
def page(base_path: str) -> bytes:
    """Return the page that loads the UI, for a server below a path."""
    text = files("tasker.web").joinpath("static", "index.html").read_text("utf-8")
    return text.replace(_BASE, base_path).encode()
