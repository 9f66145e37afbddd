"""One wait on the store by a server's process, shared by all waiting workers."""

import asyncio
from collections.abc import Awaitable, Callable

_SLICE = 10.0  #: seconds of one wait on the store


class Wakeups:
    """Passes wake-ups of the store to everyone who waits for them.

    Args:
        wait: Waits for a wake-up, at most for the given seconds.
    """

    def __init__(self, wait: Callable[[float], Awaitable[None]]) -> None:
        self.heard = 0
        """Number of wake-ups so far."""

        self._wait = wait
        self._waiting: set[asyncio.Future[None]] = set()
        self._listener: asyncio.Task[None] | None = None

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    async def wait(self, heard: int, timeout: float, closing: asyncio.Event) -> None:
        """Wait up to `timeout` seconds for a wake-up after wake-up number `heard`."""
        if self.heard != heard or closing.is_set():
            return
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(
                self._listen_to_store(closing), name="tasker-wakeups"
            )
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        timer = loop.call_later(timeout, _wake_waiter, woken)
        self._waiting.add(woken)
        try:
            await woken
        finally:
            self._waiting.discard(woken)
            timer.cancel()

    def wake_all(self) -> None:
        """Wake all who wait."""
        self.heard += 1
        for each in self._waiting:
            _wake_waiter(each)

    async def _listen_to_store(self, closing: asyncio.Event) -> None:
        """Listen while anybody waits."""
        ended = asyncio.ensure_future(closing.wait())
        try:
            while True:
                woken = asyncio.ensure_future(self._wait(_SLICE))
                done, _ = await asyncio.wait({woken, ended}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                self.wake_all()
                await asyncio.sleep(0)
                if ended in done or not self._waiting:
                    return
        finally:
            ended.cancel()


def _wake_waiter(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
