"""Copies what handlers print to the standard streams to the log of their attempt."""

import sys
from collections.abc import Callable
from typing import Any, TextIO

Printed = Callable[[str, str], None]
"""Function called with the name of a stream and the text that was written to it."""


class TeeStream:
    """A standard stream that also passes its text to a function."""

    def __init__(self, stream: TextIO, name: str, printed: Printed) -> None:
        self.stream = stream
        self._name = name
        self._printed = printed

    def write(self, text: str) -> int:
        written = self.stream.write(text)
        self._printed(self._name, text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_shared: list[TeeStream] = []
_users: list[Printed] = []


def tee_output(printed: Printed) -> None:
    """Also pass what is written to `sys.stdout` and `sys.stderr` to a function.

    A second call before `restore_output` has no further effect.
    """
    _users.append(printed)
    if len(_users) == 1:
        for name in ("stdout", "stderr"):
            shared = TeeStream(getattr(sys, name), name, printed)
            _shared.append(shared)
            setattr(sys, name, shared)


def restore_output() -> None:
    """Restore the streams once for each call of `tee_output`, unless others replaced them."""
    _users.pop()
    if not _users:
        for name, shared in zip(("stdout", "stderr"), _shared, strict=True):
            if getattr(sys, name) is shared:
                setattr(sys, name, shared.stream)
        _shared.clear()
