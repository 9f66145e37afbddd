"""Several worker processes, started again when they die: `tasker worker --processes N`.

Each process is the same command again, with `--processes 1`. A socket ties it to the
supervisor: over it a process tells that it has started, and notices when the supervisor
is gone. The first process must have started before the others are, so that whatever is
wrong with the command is said once.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from tasker.cli.exits import Exit
from tasker.cli.serving import on_signals

log = logging.getLogger("tasker.cli")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  #: seconds before a process that died is started again
_SOUND = 60.0  #: seconds after which a process counts as sound


async def supervise(count: int, command: Sequence[str]) -> int:
    """Keep `count` processes running until a signal.

    Args:
        count: How many.
        command: What each of them is. It gets `--supervisor-fd` appended.

    Returns:
        The exit code: that of the first process where it did not start, else 0.
    """
    supervisor = _Supervisor(command)
    with on_signals(lambda which, number: supervisor.signalled()):
        return await supervisor.run(count)


class _Supervised:
    """One process, and the socket to it."""

    def __init__(self, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        self.process = process
        self._link = link  # its end is what the process takes for the end of the supervisor

    async def started(self) -> bool:
        """Wait until it says that it has started; False when it ends without a word."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.sock_recv(self._link, 1) == b"+"
        except OSError:
            return False

    async def ended(self) -> int:
        """Wait for its end; tell its exit code."""
        code = await self.process.wait()
        self._link.close()
        return code

    def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()


class _Supervisor:
    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._running: dict[int, _Supervised] = {}
        self._stopping = asyncio.Event()

    async def run(self, count: int) -> int:
        first = await self._start(0)
        if not await first.started():
            code = await first.ended()
            return Exit.DONE if self._stopping.is_set() else code
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(0, first))
            for no in range(1, count):
                group.create_task(self._keep(no))
        log.info("supervisor_stopped")
        return Exit.DONE

    def signalled(self) -> None:
        """Pass a signal on; the second one reaches processes that are stopping."""
        self._stopping.set()
        for running in self._running.values():
            running.stop()

    async def _keep(self, no: int, running: _Supervised | None = None) -> None:
        """Keep one process running; one that dies soon after its start is given a pause."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            running = running or await self._start(no)
            code = await running.ended()
            del self._running[no]
            if self._stopping.is_set():
                return
            facts = {"no": no + 1, "pid": running.process.pid, "exit_code": code}
            log.error("worker_process_died", extra=facts)
            pause = _FIRST_PAUSE if time.monotonic() - began > _SOUND else pause
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause, running = min(pause * 2, _LONGEST_PAUSE), None

    async def _start(self, no: int) -> _Supervised:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "--supervisor-fd",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                process_group=0,  # a terminal's Ctrl-C reaches the supervisor only
            )
        running = self._running[no] = _Supervised(process, ours)
        log.info("worker_process_started", extra={"no": no + 1, "pid": process.pid})
        if self._stopping.is_set():
            running.stop()
        return running
