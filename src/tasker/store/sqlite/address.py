"""The URL of a SQLite store."""

from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tasker.errors import InvalidSettings

DEFAULT_PATH = Path(".tasker") / "tasker.db"
_SYNCHRONOUS = ("full", "normal")


class Address(NamedTuple):
    """The address of a store."""

    path: Path | None  #: None: in memory
    synchronous: str = "full"

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `sqlite`, `sqlite:file.db`, `sqlite:///absolute/file.db` or `sqlite::memory:`.

        `?synchronous=normal` is faster, but a power failure (not a crash of the process) may lose
        the last transactions; the default is `full`.

        Raises:
            InvalidSettings: The URL is invalid.
        """
        try:
            parts = urlsplit(url, allow_fragments=False)  # a path may contain a `#`
        except ValueError:
            raise InvalidSettings(
                "the store URL has a '[' or ']' after '//'; for a file, write sqlite:FILE"
            ) from None
        options = dict(parse_qsl(parts.query))
        synchronous = options.pop("synchronous", "full").lower()
        if options:
            raise InvalidSettings(
                f"unknown option {', '.join(options)} in the store URL {url}; the only option for"
                " SQLite is synchronous"
            )
        if synchronous not in _SYNCHRONOUS:
            raise InvalidSettings(
                f"synchronous={synchronous} in the store URL {url} must be full or normal"
            )
        place = unquote(parts.netloc + parts.path) if parts.scheme else ""
        if parts.scheme not in ("", "sqlite") or (not parts.scheme and parts.path != "sqlite"):
            raise InvalidSettings(
                f"a SQLite URL must be sqlite, sqlite:FILE or sqlite::memory:, not {url}"
            )
        if place in (":memory:", "/:memory:"):
            return cls(None, synchronous)
        return cls(Path(place) if place else DEFAULT_PATH, synchronous)

    @property
    def without_password(self) -> str:
        return "sqlite::memory:" if self.path is None else f"sqlite:{self.path}"
