"""Hearing other processes write, and not oneself."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasker.store.sqlite import change_watcher as module
from tasker.store.sqlite.change_watcher import ChangeWatcher

pytestmark = pytest.mark.anyio


class Written:
    """A database that is written to, and a change_watcher beside it."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("create table t (n)")
        self.by_others = 0
        self.asked = asyncio.Event()
        self.rang = asyncio.Event()
        self.rings = 0
        self.change_watcher = ChangeWatcher(path, self.version, self.ring)

    async def version(self) -> int:
        self.asked.set()
        return self.by_others

    def ring(self) -> None:
        self.rings += 1
        self.rang.set()

    def write(self, *, by_another: bool) -> None:
        self.asked.clear()
        self.rang.clear()
        self.by_others += by_another
        self.connection.execute("insert into t values (1)")


@pytest.fixture(params=["told", "looking"])
async def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Written]:
    """On Linux, and where nothing tells of writes."""
    if request.param == "looking":
        monkeypatch.setattr(module, "_open_inotify_descriptor", lambda path: None)
    written = Written(tmp_path / "t.db")
    written.change_watcher.start_listening()
    async with asyncio.timeout(60):
        await written.rang.wait()
    yield written
    await written.change_watcher.close()
    written.connection.close()


async def test_a_store_is_notified_only_of_the_commits_of_others(written: Written) -> None:
    """Its own commits would end all waits and trigger renewals."""
    async with asyncio.timeout(60):
        written.write(by_another=False)
        await written.asked.wait()
        written.write(by_another=True)
        await written.rang.wait()

    assert 2 == written.rings  # the first for what nobody listened to
