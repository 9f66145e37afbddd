"""Runs a Tasker server for tests of SDKs."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

SOON = 90.0  #: seconds; only a test that fails waits so long


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run a server on a SQLite file in a folder; yield its URL."""
    log = folder / "server.log"
    store = f"sqlite:{folder}/tasker.db"
    command = [sys.executable, "-m", "tasker", "server", "--store", store, "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
    try:
        yield wait_for_line(process, log, r"url=(http://\S+)\s")[1]
    finally:
        process.terminate()
        process.wait(SOON)


def wait_for_line(process: subprocess.Popen[Any], log: Path, pattern: str) -> re.Match[str]:
    """Return the match of a pattern in a process's log."""
    end = time.monotonic() + SOON
    while not (match := re.search(pattern, log.read_text())):
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    return match


def wait_for_end(api: httpx.Client, task: str) -> dict[str, Any]:
    """Return a task when it has ended."""
    end = time.monotonic() + SOON
    while True:
        answer = api.get(f"/v1/tasks/{task}/wait", params={"timeout": 20})
        if 200 == answer.status_code:
            fields: dict[str, Any] = answer.json()
            return fields
        assert time.monotonic() < end, (answer.text, api.get(f"/v1/tasks/{task}/steps").text)
