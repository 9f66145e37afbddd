"""The migrations of a dialect, and checks that a database was created by them."""

import re
from collections.abc import Sequence
from hashlib import sha256

from tasker.errors import SchemaMismatch
from tasker.model import SchemaStatus
from tasker.store.statements import load_scripts


class Migrations:
    """The numbered scripts of one dialect, forward only.

    Until 0.1.0 there is a single script, edited in place. Each database therefore stores the
    digests of the scripts that created it, and a database created by other scripts is rejected.
    """

    def __init__(self, package: str) -> None:
        self.scripts = {
            int(name.split("_", 1)[0]): text
            for name, text in load_scripts(package, "migrations").items()
        }
        self.digests = {number: _script_digest(text) for number, text in self.scripts.items()}
        self.wanted = max(self.scripts)

    def schema_status(self, applied: Sequence[tuple[int, str | None]]) -> SchemaStatus:
        """Return the status of a database, given (number, digest) of its migrations."""
        current = max((number for number, _ in applied), default=0)
        known = all(self.digests.get(number, digest) == digest for number, digest in applied)
        return SchemaStatus(current, self.wanted, known and (None not in dict(applied).values()))

    def pending(self, current: int) -> list[tuple[int, str, str]]:
        """List the migrations to apply as (number, digest, script), in order."""
        return [
            (number, self.digests[number], text)
            for number, text in self.scripts.items()
            if number > current
        ]


def require_current_schema(status: SchemaStatus, url: str) -> None:
    """Raise SchemaMismatch unless the schema matches this release."""
    require_matching_script_digests(status, url)
    if status.current > status.wanted:
        raise SchemaMismatch(
            f"the schema of {url} is at version {status.current}, which is newer than this release"
            f" supports ({status.wanted}): upgrade Tasker"
        )
    if not status.is_ready:
        age = f"is at version {status.current}" if status.current else "is empty"
        raise SchemaMismatch(
            f"the schema of {url} {age}, but this release needs version {status.wanted}:"
            " run `tasker db upgrade`"
        )


def require_matching_script_digests(status: SchemaStatus, url: str) -> None:
    """Raise SchemaMismatch for a schema created by another development version."""
    if not status.known:
        raise SchemaMismatch(
            f"the schema of {url} was created by another development version of Tasker, and there"
            " are no migrations between development versions: use an empty database"
        )


def _script_digest(script: str) -> str:
    """Return a digest of a script's statements that ignores comments."""
    code = re.sub(r"--[^\n]*", "", script)
    return sha256(" ".join(code.split()).encode()).hexdigest()[:16]
