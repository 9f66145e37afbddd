"""Open tabs of the web UI, as a process of their own: `python -m bench.open_tabs ORDER`.

It reads from the server what visible pages read, as often as they do. It writes one line when each
tab has been open for a while, and the number of responses for each line that it reads, until its
input ends.
"""

import asyncio
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson

from bench.fleet import loop_factory
from bench.http_client import connect, require_success

TABS = 50
_LIST_EVERY = 2.0  #: seconds, as in ui/src/views/tasks.tsx
_TASK_EVERY = 5.0  #: seconds, as in ui/src/views/task.tsx
_RESPONSES = 4  #: to each tab, before anything is measured
_OPENING = 120.0  #: seconds that these may take


class _Tabs:
    """What the tabs have received so far."""

    def __init__(self, count: int) -> None:
        self._few = set(range(count))
        self._of_tab: Counter[int] = Counter()
        self.open = asyncio.Event()
        if not count:
            self.open.set()

    @property
    def responses(self) -> int:
        return self._of_tab.total()

    def count(self, tab: int) -> None:
        self._of_tab[tab] += 1
        if self._of_tab[tab] == _RESPONSES:
            self._few.discard(tab)
            if not self._few:
                self.open.set()


async def keep_open(port: int, count: int) -> None:
    """Keep tabs open until the input ends. Raises the error of a tab that stopped."""
    tabs = _Tabs(count)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(_tab(port, no, tabs)) for no in range(count)]
        async with asyncio.timeout(_OPENING):
            await tabs.open.wait()
        print(tabs.responses, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(tabs.responses, flush=True)
        for one in running:
            one.cancel()


async def _tab(port: int, no: int, tabs: _Tabs) -> None:
    """Send the requests of a visible page: a list and its counts, or a task beside its stream."""
    line = await connect(port)
    await asyncio.sleep(no / TABS * 2)

    known: dict[str, tuple[str, Any]] = {}

    async def ask(path: str, every: float, *, max_age: int = 0) -> Any:
        """Send a request, and rest as `ui/src/state/pace.ts` does."""
        nonlocal line
        if line.closed:  # a browser opens another connection, too
            line = await connect(port)
        etag, before = known.get(path, ("", None))
        try:
            response = await line.request("GET", path, max_age=max_age, known=etag)
        except ConnectionError:  # it closed the connection at the same time
            line = await connect(port)
            response = await line.request("GET", path, max_age=max_age, known=etag)
        require_success([response])
        tabs.count(no)
        await asyncio.sleep(max(every, min(9 * response.took, 15)))
        if 304 == response.status:
            return before
        content = orjson.loads(response.body)
        if response.etag:
            known.clear()
            known[path] = (response.etag, content)
        return content

    for turn in itertools.count():
        age = 1 if turn else 0  # the first time everything is new
        page = "/v1/tasks?limit=100&current=true"
        listed = (await ask(page, _LIST_EVERY, max_age=age))["tasks"]
        if no % 2 and not turn % 2:
            await ask("/v1/tasks/counts", 0, max_age=2 * age)
        elif not no % 2 and listed:
            await _look_at(random.choice(listed)["id"], port, ask)


async def _look_at(task: str, port: int, ask: Callable[..., Awaitable[Any]]) -> None:
    """Look at a task for a while: read it when it changes, as its stream reports, and regularly."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /v1/stream?task={task} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        for _ in range(10):
            if (await ask(f"/v1/tasks/{task}/snapshot", 0))["task"]["ended_at"]:
                await asyncio.sleep(_TASK_EVERY)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_TASK_EVERY):
                    while not (await reader.readline()).startswith(b"event: change"):
                        pass
    finally:
        writer.close()


def main() -> None:
    order = json.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=loop_factory(order["loop"])) as runner:
        runner.run(keep_open(order["port"], order["tabs"]))


if __name__ == "__main__":
    main()
