"""How handlers are called: in the loop, in threads, in processes."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasker.engine.runners import EventLoopRunner, ThreadCallResult, ThreadRunner
from tasker.engine.running import RunningAttempt
from tasker.handlers import CallPlan

pytestmark = pytest.mark.anyio


class Calls:
    """Calls for threads, with a count of the threads' visits."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._visits = 0
        self._visited = threading.Condition()

    def put(self, call: Any) -> None:
        self._queue.put(call)

    def get(self) -> Any:
        with self._visited:
            self._visits += 1
            self._visited.notify_all()
        return self._queue.get()

    def wait_for(self, visits: int) -> bool:
        """Wait until threads have come for their next call so many times in all."""
        with self._visited:
            return self._visited.wait_for(lambda: self._visits >= visits, timeout=60)


class Gap(deque[ThreadCallResult]):
    """Results that call `in_gap` once, between being seen empty and the answer to that."""

    def __init__(self, in_gap: Callable[[], None]) -> None:
        super().__init__()
        self._in_gap: Callable[[], None] | None = in_gap

    def __bool__(self) -> bool:
        if len(self):
            return True
        if (in_gap := self._in_gap) is not None:
            self._in_gap = None
            in_gap()
        return False


def call_of(name: str, call: Callable[[], Any]) -> tuple[RunningAttempt, CallPlan]:
    """Make an attempt and its plan, as far as a runner looks at them."""
    plan = SimpleNamespace(call=lambda attempt: call())
    return cast(RunningAttempt, SimpleNamespace(key=name, attempt=None)), cast(CallPlan, plan)


async def test_a_call_that_ends_during_a_garbage_collection_is_collected() -> None:
    ended: list[str] = []
    calls, release = Calls(), threading.Event()
    both = asyncio.Event()

    def end(running: RunningAttempt, value: object, error: BaseException | None) -> None:
        ended.append(str(running.key))
        if len(ended) == 2:
            both.set()

    def in_gap() -> None:
        release.set()
        assert calls.wait_for(visits=4)  # both threads have handed over and come back

    runner = ThreadRunner(2, end, None)
    runner._calls = calls  # type: ignore[assignment]
    runner._returned = Gap(in_gap)
    runner.start_handler(*call_of("second", release.wait), None)
    runner.start_handler(*call_of("first", lambda: 1), None)
    async with asyncio.timeout(60):
        await both.wait()
    runner.close()

    assert ["first", "second"] == ended


async def test_a_handler_that_is_interrupted_before_it_starts_ends_without_being_called() -> None:
    """
    A claim and its revocation may arrive in the same iteration of the event loop.
    """
    called: list[str] = []
    ended: list[object] = []

    async def call(attempt: object) -> None:
        called.append("handler")

    runner = EventLoopRunner(lambda running, value, error: ended.append(running), None)
    running = cast(RunningAttempt, object())
    runner.start_handler(running, cast(CallPlan, SimpleNamespace(call=call)), None)
    runner.interrupt_handler(running)
    await asyncio.sleep(0)
    await runner.wait_for_interrupted_handlers(60)

    assert [running] == ended
    assert [] == called
