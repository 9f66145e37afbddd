"""Numbers that worker processes keep while they run, and their starter reads: no messages."""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

_FORM = struct.Struct("qqdd")


class Count(NamedTuple):
    """How far one process is."""

    settled: int = 0  #: steps
    ended: int = 0  #: tasks
    at: float = 0.0  #: when it settled last, by the clock that all processes share
    cpu: float = 0.0  #: seconds that it had used by then


class Tally:
    """One count per process, in a file that all of them map."""

    def __init__(self, path: Path, processes: int) -> None:
        self._processes = processes
        if not path.exists():
            path.write_bytes(bytes(_FORM.size * processes))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def write(self, process: int, count: Count) -> None:
        _FORM.pack_into(self._map, process * _FORM.size, *count)

    def read(self) -> list[Count]:
        return [
            Count(*_FORM.unpack_from(self._map, process * _FORM.size))
            for process in range(self._processes)
        ]
