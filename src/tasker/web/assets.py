"""The built files of the web UI, which `make ui` builds from the sources in `ui/`."""

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
    """A built file of the web UI, uncompressed and compressed with gzip."""

    content: bytes
    compressed: bytes
    media_type: str


def find_asset(name: str) -> Asset | None:
    """Return the built file with a name, or None if it does not exist."""
    return _read_asset(name) if name in _asset_names() else None


@cache
def _asset_names() -> frozenset[str]:
    """Return the names of all built files; no path is made of any other name of a request."""
    folder = files("tasker.web").joinpath("static", "assets")
    return frozenset(
        file.name for file in folder.iterdir() if file.name.rpartition(".")[2] in _MEDIA_TYPES
    )


@cache
def _read_asset(name: str) -> Asset:
    content = files("tasker.web").joinpath("static", "assets", name).read_bytes()
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Asset(content, gzip.compress(content, mtime=0), media_type)


@cache
def render_page(base_path: str) -> bytes:
    """Return the page that loads the UI, for a server below a path."""
    text = files("tasker.web").joinpath("static", "index.html").read_text("utf-8")
    return text.replace(_BASE, base_path).encode()
