"""Answers that are believed for a while; those who ask at once share one look."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Clock = Callable[[], float]
"""Tells seconds, from no particular beginning."""


class _Look(NamedTuple, Generic[V]):
    answer: "asyncio.Future[V]"
    until: float


class TTLCache(Generic[K, V]):
    """Answers to one question, by what it was about.

    Args:
        ask: Answers the question; what it raises is not remembered.
        seconds: How long an answer is believed.
        most: Answers that are kept at most.
        clock: Tells seconds.
    """

    def __init__(
        self,
        ask: Callable[[K], Awaitable[V]],
        *,
        seconds: float,
        most: int = 1024,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._looks: dict[K, _Look[V]] = {}

    async def get(self, key: K) -> V:
        """Tell the answer about `key`."""
        look = self._looks.get(key)
        if look is None or self._clock() >= look.until:
            look = self._begin(key)
        try:
            return await asyncio.shield(look.answer)
        except Exception:
            if self._looks.get(key) is look:
                del self._looks[key]
            raise

    def _begin(self, key: K) -> _Look[V]:
        answer = asyncio.ensure_future(self._ask(key))
        answer.add_done_callback(_heard)
        look = _Look(answer, self._clock() + self._seconds)
        self._looks.pop(key, None)
        while len(self._looks) >= self._most:
            del self._looks[next(iter(self._looks))]
        self._looks[key] = look
        return look


def _heard(answer: "asyncio.Future[Any]") -> None:
    """Take note of an error that nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()
