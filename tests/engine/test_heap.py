"""Memory that is free in the heap of the C library goes back to the system."""

import pytest

from tasker.engine import heap
from tasker.engine.heap import MOST_FREE, HeapTrimmer

pytestmark = pytest.mark.skipif(
    heap.count_free_heap_bytes() == 0, reason="needs glibc 2.33 or later"
)


def test_free_pages_between_used_ones_are_returned_to_the_system() -> None:
    """The C library still counts them as free."""
    trimmer = HeapTrimmer()
    trimmer.trim()
    blocks = [b"x" * size for size in range(1_900, 2_100) for _ in range(300)]
    used = blocks[::200]
    before = heap.resident_memory_bytes()
    del blocks
    due = trimmer.should_trim
    trimmer.trim()

    assert 300 == len(used)
    assert due
    assert heap.resident_memory_bytes() < before - MOST_FREE
    assert heap.count_free_heap_bytes() > MOST_FREE
    assert not trimmer.should_trim
