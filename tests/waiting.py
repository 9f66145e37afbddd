"""Waiting for what happens elsewhere, with a deadline and without guessing how long it takes."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

WITHIN = 300.0  #: seconds; only a test that fails takes so long
_PAUSE = 0.005


async def eventually(ask: Callable[[], Any], *, within: float = WITHIN) -> Any:
    """Ask until the answer is true, and return it. The question may be a coroutine function.

    Raises:
        AssertionError: It was not within `within` seconds.
    """
    end = time.monotonic() + within
    while True:
        answer = ask()
        reply = await answer if inspect.isawaitable(answer) else answer
        if reply:
            return reply
        assert time.monotonic() < end, f"not within {within} s; the last answer was {reply!r}"
        await asyncio.sleep(_PAUSE)
