"""Processes of one machine: which are gone, and workers that were killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engine.factories import AT_ONCE, SOON, step, template

from tasker import LocalClient, Worker, open_store
from tasker.engine import process
from tasker.engine.process import describe_this_process, has_process_ended
from tasker.model import AttemptOutcome

pytestmark = pytest.mark.anyio

HANGS = """
import asyncio, sys
from datetime import timedelta
from tasker import Worker, WorkerSettings, open_store

async def only():
    print("began", flush=True)
    await asyncio.sleep(3600)

async def main():
    async with open_store(sys.argv[1]) as store:
        settings = WorkerSettings(lease=timedelta(hours=1))
        handlers = [{"only": only}]
        await Worker(store, handlers, namespaces=["n"], name="victim", settings=settings).run()

asyncio.run(main())
"""


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def test_a_running_process_is_not_reported_as_gone() -> None:
    own = describe_this_process({})

    assert not has_process_ended(own.pid, own.pid_started)
    assert os.getpid() == own.pid
    assert own.machine


def test_a_later_process_with_the_same_id_is_distinguished() -> None:
    own = describe_this_process({})

    assert has_process_ended(own.pid, own.pid_started - 1)


def test_a_killed_process_is_gone_before_its_parent_reaps_it() -> None:
    """It stays gone afterwards."""
    with child("-c", "print('up', flush=True); import time; time.sleep(3600)") as started:
        assert started.stdout is not None
        started.stdout.readline()
        begun = process._process_start_time(started.pid)
        assert begun is not None
        running = has_process_ended(started.pid, begun)
        started.send_signal(signal.SIGKILL)
        until = time.monotonic() + SOON.total_seconds()
        while not (zombie := has_process_ended(started.pid, begun)) and time.monotonic() < until:
            time.sleep(0.01)
        assert started.returncode is None
        started.wait()

        assert (False, True, True) == (running, zombie, has_process_ended(started.pid, begun))


def test_a_process_that_cannot_be_inspected_is_not_reported_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    `/proc` may hide the processes of others.
    """

    def hidden(pid: int) -> int | None:
        raise FileNotFoundError(pid)

    own = describe_this_process({})
    monkeypatch.setattr(process, "_process_start_time", hidden)

    assert not has_process_ended(own.pid, own.pid_started)


@pytest.mark.parametrize("absent", [True, False], ids=["absent", "of another namespace"])
def test_without_its_own_proc_a_machine_has_no_identity(
    absent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "self"
    if not absent:
        link.symlink_to("/proc/1" if os.getpid() != 1 else "/proc/2")
    monkeypatch.setattr(process, "_SELF", link)
    process.machine_id.cache_clear()
    try:
        own = describe_this_process({"gpu": "true"})
    finally:
        process.machine_id.cache_clear()

    assert ("", 0, {"gpu": "true"}) == (own.machine, own.pid_started, own.labels)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty store that processes can share, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'tasker.db'}"
    return str(request.getfixturevalue("postgres_store_url"))


async def test_the_steps_of_a_killed_worker_are_taken_over_immediately(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    By another worker on the same machine, long before the lease of an hour expires.
    """
    flow = template("flow", step("only", retry=AT_ONCE))
    async with open_store(url, upgrade=True) as store:
        client = LocalClient(store)
        await client.register(flow)
        task = await client.create_task("n.flow")
        with child("-c", HANGS, url) as victim:
            assert victim.stdout is not None
            assert "began\n" == victim.stdout.readline()
            victim.send_signal(signal.SIGKILL)
            handlers = {"only": lambda context: context.attempt}
            async with Worker(store, [handlers], namespaces=["n"]):
                task = await client.wait(task.id, timeout=SOON)
        history = await client.attempts(task.id)

    assert 2 == task.result
    assert [AttemptOutcome.LOST, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
    assert "worker_gone" in caplog.messages
