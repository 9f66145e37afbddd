"""Which migrations there are, and what a database of another age gets told."""

from tasker.errors import SchemaMismatch
from tasker.model import SchemaStatus
from tasker.store.statements import scripts


class Migrations:
    """The numbered scripts of one dialect, forward only and never edited once released."""

    def __init__(self, package: str) -> None:
        self.scripts = {
            int(name.split("_", 1)[0]): text
            for name, text in scripts(package, "migrations").items()
        }
        self.wanted = max(self.scripts)

    def missing(self, current: int) -> list[tuple[int, str]]:
        """List (number, script) of those to apply, in order."""
        return [(number, text) for number, text in self.scripts.items() if number > current]


def require(status: SchemaStatus, url: str) -> None:
    """Raise SchemaMismatch unless the schema is the one that this release works with."""
    if status.current > status.wanted:
        raise SchemaMismatch(
            f"the schema of {url} is at {status.current}, newer than this release knows"
            f" ({status.wanted}): upgrade Tasker"
        )
    if not status.ready:
        found = f"is at {status.current}" if status.current else "is empty"
        raise SchemaMismatch(
            f"the schema of {url} {found}, this release needs {status.wanted}:"
            " run `tasker db upgrade`"
        )
