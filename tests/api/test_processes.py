"""Two servers and four workers on one PostgreSQL, while one of each is killed."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.waiting import eventually

from tasker import open_store, parse_template
from tasker.client.http import HttpClient
from tasker.errors import StoreUnavailable
from tasker.model import AttemptOutcome, Task, TaskFilter, TaskStatus

pytestmark = pytest.mark.anyio

TASKS = 120
PATIENCE = 300.0  #: seconds; only a test that fails takes so long
WORKS = ("-H", "handlers.py", "--namespace", "*", "--lease", "2s")
HANDLERS = """
    import asyncio
    from tasker import handler


    @handler
    async def first(no: int) -> int:
        await asyncio.sleep(0.02)
        return no


    @handler
    async def second(first: int) -> int:
        await asyncio.sleep(0.02)
        return first + 1
"""
TEMPLATE = """
    name: count
    namespace_name: many
    version: 1.0.0
    steps:
      - {name: first, retry: {max_attempts: 5, initial_delay: 0.01, backoff: fixed}}
      - {name: second, dependencies: [first], retry: {max_attempts: 5, backoff: none}}
"""


class Running(NamedTuple):
    """A command of ours in a process, and where its log is."""

    process: subprocess.Popen[bytes]
    log: Path

    async def logged(self, pattern: str) -> re.Match[str]:
        """Wait until its log matches a pattern; return the match."""
        match: re.Match[str] = await eventually(
            lambda: re.search(pattern, self.log.read_text()), within=PATIENCE
        )
        return match

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)


@contextmanager
def running(root: Path, no: int, *arguments: str) -> Iterator[Running]:
    """Run a command of ours in a process; kill it at the end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    log = root / f"{no}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasker", *arguments],
            cwd=root,
            env=kept,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


async def create(clients: list[HttpClient], no: int) -> Task:
    """Create one task at whichever server answers, under a key of its own."""
    while True:
        for client in clients[no % 2 :] + clients[: no % 2]:
            try:
                return await client.create_task(
                    "many.count", {"no": no}, idempotency_key=f"count-{no}"
                )
            except StoreUnavailable:
                continue
        await asyncio.sleep(0.05)


async def test_no_task_is_lost_when_servers_and_workers_are_killed(
    postgres_schema_url: str, tmp_path: Path
) -> None:
    """Every acknowledged task exists once and completes, with one result per step."""
    (tmp_path / "handlers.py").write_text(textwrap.dedent(HANDLERS))
    url = postgres_schema_url
    with ExitStack() as stack:
        async with open_store(url, upgrade=True) as store:
            template = parse_template(textwrap.dedent(TEMPLATE))
            await store.register_template(template, registered_by="tests")
            start = [
                ("server", "--store", url, "--port", "0"),
                ("server", "--store", url, "--port", "0"),
                *[
                    (
                        "worker",
                        "--store",
                        url,
                        "-H",
                        "handlers.py",
                        "--namespace",
                        "*",
                        "--lease",
                        "2s",
                    )
                ]
                * 4,
            ]
            processes = [
                stack.enter_context(running(tmp_path, no, *one)) for no, one in enumerate(start)
            ]
            servers, workers = processes[:2], processes[2:]
            urls = [(await one.logged(r"server_started.* url=(\S+)"))[1] for one in servers]
            clients = [HttpClient(url, retries=0) for url in urls]
            for worker in workers:
                await worker.logged("worker_started")

            async with asyncio.timeout(PATIENCE):
                created: list[Task] = []
                for no in range(TASKS):
                    created.append(await create(clients, no))
                    if no == TASKS // 3:
                        servers[0].kill()
                    if no == TASKS // 2:
                        workers[0].kill()
                ended = [await clients[1].wait(task.id) for task in created]

            assert [TaskStatus.COMPLETE] * TASKS == [task.status for task in ended]
            assert {task.id for task in created} == {
                task.id for task in await store.list_tasks(TaskFilter(), limit=2 * TASKS)
            }
            for no, task in enumerate(created):
                steps = await store.list_steps(task.id)
                assert [no, no + 1] == [step.result for step in steps]
                history = await store.list_attempts(task.id)
                complete = [one.step for one in history if one.outcome is AttemptOutcome.COMPLETE]
                assert ["first", "second"] == sorted(complete)
            for client in clients:
                await client.close()
