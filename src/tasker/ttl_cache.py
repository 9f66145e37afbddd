"""A cache whose entries expire; concurrent readers share one load."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Clock = Callable[[], float]
"""Returns a time in seconds, like `time.monotonic`."""


@dataclass(slots=True)
class _CacheEntry(Generic[V]):
    loading: "asyncio.Future[V]"
    until: float
    value: Any = None
    loaded: bool = False  #: whether `value` was read; asking the future takes longer


class TTLCache(Generic[K, V]):
    """Caches values by key; each is loaded on first use.

    Args:
        load: Loads the value of a key; exceptions are not cached.
        seconds: How long a value is kept.
        max_entries: Maximum number of cached values.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        *,
        seconds: float,
        max_entries: int = 1024,
        clock: Clock = time.monotonic,
    ) -> None:
        self._load = load
        self._seconds = seconds
        self._max_entries = max_entries
        self._clock = clock
        self._entries: dict[K, _CacheEntry[V]] = {}

    async def get(self, key: K) -> V:
        """Return the value of `key`, loading it if necessary. Raises the exceptions of `load`."""
        entry = self._entries.get(key)
        if entry is None or self._clock() >= entry.until:
            entry = self._start_loading(key)
        elif entry.loaded:
            value: V = entry.value
            return value
        try:
            value = await asyncio.shield(entry.loading)
        except Exception:
            if self._entries.get(key) is entry:
                del self._entries[key]
            raise
        entry.value, entry.loaded = value, True
        return value

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Remove all values; loads in progress still reach their readers."""
        self._entries.clear()

    def forget(self, key: K) -> None:
        """Remove the value of `key`, if it has one."""
        self._entries.pop(key, None)

    def _start_loading(self, key: K) -> _CacheEntry[V]:
        value = asyncio.ensure_future(self._load(key))
        value.add_done_callback(_mark_exception_retrieved)
        entry = _CacheEntry(value, self._clock() + self._seconds)
        self._entries.pop(key, None)
        while len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        return entry


def _mark_exception_retrieved(value: "asyncio.Future[Any]") -> None:
    """Mark an exception as retrieved, even if all readers were cancelled."""
    if not value.cancelled():
        value.exception()
