"""A worker in a process of its own, for the demo to kill."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tasker.errors import TaskerError

LEASE_S = 1
"""How long the steps of the worker stay reserved after its death."""


class WorkerProcess:
    """`tasker worker` on a store; it stops at the latest with this process.

    Args:
        store: The store's URL.
        handlers: Files with handlers.
    """

    def __init__(self, store: str, handlers: Sequence[Path]) -> None:
        self._link, theirs = socket.socketpair()  # closes with this process: it notices
        files = [word for file in handlers for word in ("--handlers", str(file))]
        options = ["--lease", f"{LEASE_S}s", "--environment", "demo", "--replace"]
        with theirs:
            link = theirs.fileno()
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "tasker", "worker", *files, *options),
                    *("--supervisor-fd", str(link)),
                ],
                pass_fds=[link],
                env={**os.environ, "TASKER_STORE": store},  # not in the command: it has a password
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def started(self) -> None:
        """Wait until it claims steps.

        Raises:
            TaskerError: It has ended instead; the message has its last words.
        """
        if await asyncio.to_thread(self._link.recv, 1) != b"+":
            _, errors = self._process.communicate()
            lines = errors.decode(errors="replace").splitlines()
            raise TaskerError(f"the worker process did not start: {lines[-1] if lines else ''}")

    def kill(self) -> None:
        """End it by SIGKILL, which no process can handle or delay."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._link.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
