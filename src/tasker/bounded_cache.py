"""A cache of values of different sizes."""

from collections import OrderedDict
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps values up to a total size; the least recently used are removed first.

    A removed value is still found while something else refers to it, so values in use are never
    created twice. A value larger than the limit is only found in this way.

    Args:
        limit: The total size to keep, in the unit of `put`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0  #: of the values that are kept
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._alive: WeakValueDictionary[K, V] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return a value, or None if it is not cached."""
        entry = self._kept.get(key)
        if entry is None:
            return self._alive.get(key)
        self._kept.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Add or replace a value."""
        self.remove(key)
        self._alive[key] = value
        if size > self.limit:
            return
        self._kept[key] = value, size
        self.size += size
        while self.size > self.limit:
            _, (_, removed) = self._kept.popitem(last=False)
            self.size -= removed

    def remove(self, key: K) -> None:
        """Remove a value if it is cached."""
        _, size = self._kept.pop(key, (None, 0))
        self.size -= size
        self._alive.pop(key, None)
