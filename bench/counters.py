"""Progress counters that worker processes share with their parent through a mapped file."""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

_FORMAT = struct.Struct("qqdd")


class Count(NamedTuple):
    """The progress of one process."""

    settled: int = 0  #: steps
    ended: int = 0  #: tasks
    at: float = 0.0  #: `time.monotonic()` of its last settlement
    cpu: float = 0.0  #: CPU seconds used by then


class Counters:
    """One count per process."""

    def __init__(self, path: Path, processes: int) -> None:
        self._processes = processes
        if not path.exists():
            path.write_bytes(bytes(_FORMAT.size * processes))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def write(self, process: int, count: Count) -> None:
        _FORMAT.pack_into(self._map, process * _FORMAT.size, *count)

    def read(self) -> list[Count]:
        return [
            Count(*_FORMAT.unpack_from(self._map, process * _FORMAT.size))
            for process in range(self._processes)
        ]
