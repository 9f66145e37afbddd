"""Waiting for what happens elsewhere, with a deadline and without guessing how long it takes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WITHIN = 15.0  #: seconds; only a test that fails takes so long
_PAUSE = 0.005


async def eventually(ask: Callable[[], Awaitable[T] | T], *, within: float = WITHIN) -> T:
    """Ask until the answer is true, and tell it.

    Raises:
        AssertionError: It was not within `within` seconds.
    """
    end = time.monotonic() + within
    while True:
        answer = ask()
        told: T = await answer if inspect.isawaitable(answer) else answer
        if told:
            return told
        assert time.monotonic() < end, f"not within {within} s; the last answer was {told!r}"
        await asyncio.sleep(_PAUSE)
