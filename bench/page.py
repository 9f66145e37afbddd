"""What pages of the web UI take in a browser: until a list is usable, and while a large task runs.

Without Chromium or Playwright, which `make test-ui` installs, nothing is measured.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

from bench.browser import find_chromium, has_playwright, launched
from bench.databases import Server, empty_database
from bench.fleet import TIME_LIMIT, Settings, fleet
from bench.http_client import RunningServer, serving
from bench.proc import contention
from bench.rows import Percentiles, Row
from bench.tabs import create_cancelled
from bench.workloads import PACE, PACED
from tasker import LocalClient
from tasker.model import TaskId
from tasker.store.open import make_store

_OPENINGS = 5  #: of the list; each in a browser context of its own, so without a cache
_SLOWER = 4  #: times, by Chromium's own emulation
_LISTED = 200  #: tasks in the store
_SIZE = {"width": 1440, "height": 900}

_OBSERVE = """
window.usable = window.longest = 0
new PerformanceObserver(list => {
  for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration)
}).observe({type: "longtask", buffered: true})
new MutationObserver((_, observer) => {
  if (!document.querySelector("tbody tr a")) return
  observer.disconnect()
  requestAnimationFrame(() => setTimeout(() => { window.usable = performance.now() }))
}).observe(document, {childList: true, subtree: true})
"""
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


class _Figure(NamedTuple):
    """A figure, and its limit on an idle machine."""

    name: str
    value: float
    limit: float
    unit: str
    slower: float = 1.0  #: by which factor other processes slowed this one down meanwhile

    def __str__(self) -> str:
        text = f"{self.name}: {self.value:.3g} {self.unit}, limit {self.limit:g}"
        if self.slower > 1.05:
            text += f", times {self.slower:.1f} as other processes were running"
        return text + (" MISSED" if self.value > self.limit * self.slower else "")


def pages(settings: Settings, store: str, server: Server | None) -> list[Row]:
    """Measure how soon the list of tasks can be used, and what a page costs while its task runs."""
    path = find_chromium()
    if path is None or not has_playwright():
        print("ui-page is not measured: it needs Chromium and Playwright (`make test-ui`)")
        return []
    rows = _first_paint(settings, store, server, path)
    _follow(settings, store, server, path)
    return rows


def _first_paint(settings: Settings, store: str, server: Server | None, path: str) -> list[Row]:
    """Open the list of tasks several times, without a cache and with a slow processor."""
    painted, usable, slower = [], [], [contention()]
    with empty_database(store, server) as database, serving(database.url) as process:
        asyncio.run(create_cancelled(database.url, _LISTED))
        with launched(path) as browser:
            for _ in range(1 if settings.quick else _OPENINGS):
                with _opened(browser, process) as (page, cdp):
                    cdp.send("Emulation.setCPUThrottlingRate", {"rate": _SLOWER})
                    page.goto("tasks", wait_until="commit")
                    page.locator("tbody tr a").first.wait_for()
                    painted.append(_until_positive(page, _PAINTED) / 1000)
                    usable.append(_until_positive(page, "window.usable") / 1000)
                    page.locator("tbody tr a").first.click()
                    page.locator(".hd").wait_for()
                slower.append(contention())
    throttled = f"with a processor {_SLOWER} times slower"
    others = median(slower)
    print(_Figure(f"first contentful paint {throttled}", median(painted), 1.0, "s", others))
    print(_Figure(f"usable list of tasks {throttled}", median(usable), 1.5, "s", others))
    return [
        Row(store=store, workload=f"ui-page {name}", latency_ms=Percentiles.of(seconds))
        for name, seconds in (("first contentful paint", painted), ("usable list", usable))
    ]


def _follow(settings: Settings, store: str, server: Server | None, path: str) -> None:
    """Keep the page of a task open while all its steps are settled, from the first to the last."""
    with (
        empty_database(store, server) as database,
        serving(database.url) as process,
        fleet(settings, database) as processes,
    ):
        worker = processes.start("paced")
        task = asyncio.run(_create(database.url))
        with launched(path) as browser, _opened(browser, process) as (page, cdp):
            cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(f"tasks/{task}")
            page.locator(".tl-row").first.wait_for()
            received = _Received(cdp)
            slower, heap = contention(), _heap(cdp)
            cpu, server_cpu, before = _page_cpu(cdp), process.cpu, received.bytes
            page.evaluate("window.longest = 0")
            start = time.monotonic()
            worker.signal()
            ended = page.locator(".hd .pill", has_text="Complete")
            while not ended.count():
                page.wait_for_timeout(500)
                if time.monotonic() - start > TIME_LIMIT:
                    raise RuntimeError(f"the task did not end in {TIME_LIMIT:.0f} s")
            took = time.monotonic() - start
            cpu, server_cpu = _page_cpu(cdp) - cpu, process.cpu - server_cpu
            longest = page.evaluate("window.longest")
            sent, heap = received.bytes - before, _heap(cdp) - heap
            slower = max(slower, contention())
        worker.signal()
        worker.result()
    steps = len(PACED.steps)
    while_running = f"while {steps:,} steps are settled, {PACE} per second"
    print(_Figure(f"growth of the page's heap {while_running}", heap / 1e6, 20, "MB"))
    print(_Figure(f"data sent to the page {while_running}", sent / took / 1000, 200, "kB/s"))
    print(_Figure(f"longest task of its main thread {while_running}", longest, 200, "ms", slower))
    print(
        f"the steps were settled in {took:.1f} s; the page used {cpu / took:.1%} of a core and the"
        f" server {server_cpu / took:.1%} for {received.requests} responses"
    )


@contextmanager
def _opened(browser: Any, process: RunningServer) -> Iterator[tuple[Any, Any]]:
    """Yield a page in a context of its own, and its DevTools session."""
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{process.port}/ui/", viewport=_SIZE, reduced_motion="reduce"
    )
    page = context.new_page()
    page.add_init_script(_OBSERVE)
    yield page, context.new_cdp_session(page)
    context.close()


class _Received:
    """The bytes that a page has received: of complete responses with their heads, and as they are
    sent; of streams, their data."""

    def __init__(self, cdp: Any) -> None:
        self._complete = self.requests = 0
        self._open: dict[str, int] = {}
        cdp.on("Network.dataReceived", self._on_data)
        cdp.on("Network.loadingFinished", self._on_finished)
        cdp.send("Network.enable")

    @property
    def bytes(self) -> int:
        return self._complete + sum(self._open.values())

    def _on_data(self, event: Any) -> None:
        size = event["encodedDataLength"] or event["dataLength"]
        self._open[event["requestId"]] = self._open.get(event["requestId"], 0) + size

    def _on_finished(self, event: Any) -> None:
        self._open.pop(event["requestId"], None)
        self._complete += int(event["encodedDataLength"])
        self.requests += 1


def _until_positive(page: Any, expression: str) -> float:
    """Evaluate an expression until it is a positive number."""
    while not (value := float(page.evaluate(expression))):
        page.wait_for_timeout(20)
    return value


def _heap(cdp: Any) -> float:
    """Return the bytes of the page's heap that are in use."""
    cdp.send("HeapProfiler.collectGarbage")
    return _metric(cdp, "JSHeapUsedSize")


def _page_cpu(cdp: Any) -> float:
    """Return the CPU seconds of the page's main thread."""
    return _metric(cdp, "TaskDuration")


def _metric(cdp: Any, name: str) -> float:
    metrics = cdp.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == name)


async def _create(url: str) -> TaskId:
    """Create the task that is followed."""
    async with make_store(url) as store:
        client = LocalClient(store)
        await client.register(PACED)
        return (await client.create_task(PACED.full_name)).id
