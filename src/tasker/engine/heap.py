"""Returns memory to the system that the C library keeps after large tasks."""

import ctypes
import resource
from functools import cache
from pathlib import Path

MOST_FREE = 32 << 20  #: bytes that the C library may keep for later use


class _Mallinfo(ctypes.Structure):
    """The result of `mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def count_free_heap_bytes() -> int:
    """Return how many bytes are free in the heap of the C library; 0 if it is not glibc >= 2.33."""
    library = _load_glibc()
    return 0 if library is None else int(library.mallinfo2().fordblks)


class HeapTrimmer:
    """Returns the heap's free pages to the system when there are many more than after the last
    call.

    Python frees large tasks, but glibc returns only what is free at the end of its heap.
    """

    def __init__(self) -> None:
        self._resident = 0  #: bytes after the last time

    @property
    def should_trim(self) -> bool:
        """Whether trimming is worth its time: some milliseconds per 100 MB."""
        return (
            resident_memory_bytes() > self._resident + MOST_FREE
            and count_free_heap_bytes() > MOST_FREE
        )

    def trim(self) -> None:
        """Return free pages to the system."""
        library = _load_glibc()
        if library is not None:
            library.malloc_trim(0)
        self._resident = resident_memory_bytes()


def resident_memory_bytes() -> int:
    """Return the bytes of memory that this process occupies; 0 if the system does not show it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


@cache
def _load_glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Mallinfo
        library.malloc_trim.argtypes = (ctypes.c_size_t,)
    except (OSError, AttributeError, TypeError):
        return None
    return library
