"""Record what the API responds to the pages of which pictures are taken: `make pictures RECORD=1`.

The store is that of `tasker demo --serve`, with schedules, a limit, a version that waits for a
review, and figures of the last day. A copy of it is served at the time of the copy, at which the
clocks of the server and of the pages stand still.
"""

import asyncio
import math
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from bench.browser import find_chromium, launched
from tests.browser.conftest import SOON
from tests.browser.recordings import Recording
from tests.browser.test_pictures import LOADED, LOOKS, PAGES, RECORDING

from tasker.api import create_app
from tasker.api.server import run_server
from tasker.clock import ManualClock
from tasker.settings import ServerSettings
from tasker.store.open import open_store
from tasker.web import add_web_ui

TASKS = 45  #: tasks that the demo has created when it is recorded
LONG = 300.0  #: seconds until it has

DIGEST = """
name: send_digest
namespace_name: shared
version: 1.{minor}.0
description: Send the weekly summary to all customers
steps:
  - name: collect_figures
  - name: render_digest
    dependencies: [collect_figures]
  - name: send_digest
    dependencies: [render_digest]
"""

SCHEDULES: list[dict[str, Any]] = [
    {
        "namespace": "inventory", "name": "count_stock", "template": "process_return",
        "cron": "30 2 * * *", "timezone": "Europe/Berlin",
        "context": {"return_id": "RET-{tick.date}"},
    },
    {
        "namespace": "inventory", "name": "returns_of_partners", "template": "process_return",
        "cron": "0 9 * * 1-5", "timezone": "America/New_York",
        "context": {"return_id": "PARTNER-{tick.date}"},
    },
    {
        "namespace": "shared", "name": "weekly_digest", "template": "send_digest",
        "cron": "0 7 * * 1", "timezone": "Europe/Berlin",
    },
]  # fmt: skip


@contextmanager
def demo(folder: Path) -> Iterator[tuple[httpx.Client, Path]]:
    """Run the demo's server on a free port."""
    store, log = folder / "demo.db", folder / "log"
    command = [sys.executable, "-m", "tasker", "demo", "--serve", "--port", "0", "--store"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, f"sqlite:{store}"], cwd=folder, stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + SOON
        while not (match := re.search(r"http://localhost:\d+", log.read_text())):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        with httpx.Client(base_url=match[0].replace("localhost", "127.0.0.1")) as api:
            yield api, store
    finally:
        process.terminate()
        process.wait(SOON)


def prepare(api: httpx.Client, store: Path) -> None:
    """Add what the demo lacks, and wait until it has created some tasks."""
    policy = {"owner_team": "Platform", "contact_email": "platform@growthcorp.com"}
    yaml = {"Content-Type": "application/yaml"}
    approved = {"requires_approval": True, "approvers": ["sarah@growthcorp.com"]}
    must(api.put("/v1/namespaces/shared/policy", json=policy))
    must(api.post("/v1/templates", content=DIGEST.format(minor=1), headers=yaml))
    must(api.put("/v1/namespaces/shared/policy", json={**policy, **approved}))
    must(api.post("/v1/templates", content=DIGEST.format(minor=2), headers=yaml))
    for schedule in SCHEDULES:
        must(api.post("/v1/schedules", json=schedule))
    limit = {"namespace": "payments", "key": "bank", "concurrency": 4, "rate": "20/s"}
    must(api.put("/v1/limits", json={**limit, "reason": "The bank asked for less."}))
    end = time.monotonic() + LONG
    while len(listed(api)) < TASKS or not any(waits_for_retry(one) for one in listed(api)):
        assert time.monotonic() < end
        time.sleep(1)
    add_figures(store)


def copied(store: Path, copy: Path) -> datetime:
    """Copy a store that is in use; return a time at which nothing in the copy is in the future."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return datetime.now(UTC)


@contextmanager
def standing_still(store: Path, at: datetime) -> Iterator[httpx.Client]:
    """Serve a store from this process, whose clock stands still."""
    stop_clocks(at)
    address: Future[str] = Future()
    stopped = threading.Event()

    async def serve() -> None:
        settings = ServerSettings(port=0)
        async with open_store(f"sqlite:{store}", clock=ManualClock(at)) as opened:
            app = create_app(opened, settings=settings, local_only=True)
            add_web_ui(app, settings)
            async with run_server(app, settings) as server:
                address.set_result(server.url)
                await asyncio.to_thread(stopped.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        with httpx.Client(base_url=address.result(SOON)) as api:
            yield api
    finally:
        stopped.set()
        thread.join()


def stop_clocks(at: datetime) -> None:
    """Let `datetime.now` return one time in all modules of Tasker."""

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

        def __getattr__(cls, name: str) -> Any:
            return getattr(datetime, name)

        def __call__(cls, *args: Any, **more: Any) -> Any:
            return datetime(*args, **more)

    class Stopped(metaclass=Kind):
        @staticmethod
        def now(tz: Any = None) -> datetime:
            return at.astimezone(tz)

    for name, module in [*sys.modules.items()]:
        if name.startswith("tasker.") and getattr(module, "datetime", None) is datetime:
            setattr(module, "datetime", Stopped)  # noqa: B010


def must(response: httpx.Response) -> None:
    assert response.is_success, response.text


def listed(api: httpx.Client) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = api.get("/v1/tasks?limit=100").json()["tasks"]
    return tasks


def waits_for_retry(task: dict[str, Any]) -> bool:
    return bool(
        "waiting_for_retry" == task["execution_status"] and "user_registration" == task["name"]
    )


def add_figures(store: Path) -> None:
    """Insert figures for each minute of the last day, as workers would have appended them."""
    chance = random.Random(1)
    now = int(time.time()) // 60
    with sqlite3.connect(store) as connection:
        templates = [row[0] for row in connection.execute("select id from template order by id")]
        for minute in range(now - 1440, now - 3):
            busy = 1 + math.sin((minute % 1440) / 1440 * 2 * math.pi)
            for template in templates:
                done = int(chance.uniform(0, 4) * busy)
                failed = int(chance.random() < 0.001 * busy)
                row = (minute, template, done + failed, done, failed, done * 5, failed, done * 1.7)
                connection.execute(
                    "insert into figure (minute, template_id, created, completed, failed, steps,"
                    " retries, seconds, merged) values (?, ?, ?, ?, ?, ?, ?, ?, 1)",
                    row,
                )


def paths(api: httpx.Client) -> dict[str, str]:
    """Return the paths of the pages, by name."""
    tasks = listed(api)
    retry = next(one for one in tasks if waits_for_retry(one))
    order = next(one for one in reversed(tasks) if "fulfil_order" == one["name"])
    own = {
        "home": "",
        "task": f"tasks/{retry['id']}?step=setup_billing_profile",
        "map": f"tasks/{order['id']}",
        "workflow": "workflows/payments/process_refund",
        "namespace": "namespaces/shared",
    }
    return {name: own.get(name, name) for name in PAGES}


def main() -> None:
    path = find_chromium()
    assert path is not None, "no Chromium"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        with demo(Path(folder)) as (api, store):
            prepare(api, store)
            at = copied(store, copy)
        with standing_still(copy, at) as api, launched(path) as browser:
            recording = Recording(at, paths(api), {})
            for look in LOOKS.values():
                for name, page_path in recording.pages.items():
                    context = browser.new_context(base_url=f"{api.base_url}/ui/", **look)
                    page = context.new_page()
                    with recording.recorded(page):
                        page.goto(page_path)
                        page.locator(LOADED).first.wait_for()
                        page.wait_for_timeout(2_500)
                        page.unroute_all(behavior="ignoreErrors")
                    print(name, len(recording.responses), flush=True)
                    context.close()
    recording.save(RECORDING)


if __name__ == "__main__":
    main()
