"""Runs a command in several processes.

Each process runs the same command with `--processes 1`. A socket connects it to the supervisor;
through it, a process reports that it has started, and detects that the supervisor has ended. The
other processes start after the first one has, so that an invalid command is reported only once.
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from tasker.cli.exits import ExitCode
from tasker.cli.loading import handle_signals

log = logging.getLogger("tasker.cli")

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  #: seconds before a process is started again
_STABLE = 60.0  #: seconds after which a process counts as stable


def single_process_command(*options: str) -> list[str]:
    """Return the command line of this process, for one process and with further options."""
    return [sys.executable, "-P", "-m", "tasker", *sys.argv[1:], "--processes", "1", *options]


@contextmanager
def report_start_and_watch_supervisor(
    descriptor: int | None, stop: Callable[[], None]
) -> Iterator[None]:
    """Report to the supervisor that this process has started; call `stop` when the supervisor ends.

    Args:
        descriptor: File descriptor of the socket to the supervisor; None without a supervisor.
        stop: Stops this process gracefully.
    """
    if descriptor is None:
        yield
        return
    loop = asyncio.get_running_loop()
    link = socket.socket(fileno=descriptor)
    link.set_inheritable(False)
    link.setblocking(False)

    def stop_after_supervisor() -> None:
        loop.remove_reader(link)
        log.warning("supervisor_gone")
        stop()

    loop.add_reader(link, stop_after_supervisor)
    with suppress(OSError):  # the supervisor is gone already: the reader notices
        link.send(b"+")
    try:
        yield
    finally:
        loop.remove_reader(link)
        link.close()


async def supervise_processes(
    kind: str,
    commands: Sequence[Sequence[str]],
    *,
    environment: Mapping[str, str] | None = None,
    on_ended: Callable[[int], None] | None = None,
) -> int:
    """Keep one process per command running until a signal arrives.

    `--supervisor-fd` is appended to each command.

    Args:
        kind: What the processes are, for events such as `worker_process_started`.
        commands: The command line of each process.
        environment: Variables of the processes; None means those of this one.
        on_ended: Called with the id of each process that has ended.

    Returns:
        The exit code: that of the first process if it did not start, 2 if the settings of a later
        one were invalid, otherwise 0.
    """
    supervisor = _Supervisor(kind, commands, environment, on_ended)
    with handle_signals(lambda which, number: supervisor.stop_processes()):
        return await supervisor.run()


class _SupervisedProcess:
    """One process, and the socket to it."""

    def __init__(self, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        self.process = process
        self._link = link  # when this end closes, the process takes the supervisor for ended

    async def wait_until_started(self) -> bool:
        """Wait until the process reports that it has started; return False if it ends before."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.sock_recv(self._link, 1) == b"+"
        except OSError:
            return False

    async def wait_until_ended(self) -> int:
        """Wait for the process to end, and return its exit code."""
        code = await self.process.wait()
        self._link.close()
        return code

    def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()


class _Supervisor:
    """Keeps one process per command running, and passes signals on to them."""

    def __init__(
        self,
        kind: str,
        commands: Sequence[Sequence[str]],
        environment: Mapping[str, str] | None,
        on_ended: Callable[[int], None] | None,
    ) -> None:
        self._kind = kind
        self._process_commands = commands
        self._environment = environment
        self._on_ended = on_ended
        self._running: dict[int, _SupervisedProcess] = {}
        self._stopping = asyncio.Event()
        self._code: int = ExitCode.DONE

    async def run(self) -> int:
        first = await self._start_process(0)
        if not await first.wait_until_started():
            code = await first.wait_until_ended()
            return ExitCode.DONE if self._stopping.is_set() else code
        async with asyncio.TaskGroup() as group:
            group.create_task(self._restart_until_stopped(0, first))
            for no in range(1, len(self._process_commands)):
                group.create_task(self._restart_until_stopped(no))
        log.info("supervisor_stopped")
        return self._code

    def stop_processes(self) -> None:
        """Pass a signal on to the processes; a second one reaches those already stopping."""
        self._stopping.set()
        for running in self._running.values():
            running.stop()

    async def _restart_until_stopped(
        self, no: int, running: _SupervisedProcess | None = None
    ) -> None:
        """Keep one process running; pause before a restart if it died soon after its start."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            running = running or await self._start_process(no)
            code = await running.wait_until_ended()
            del self._running[no]
            if self._on_ended is not None:
                self._on_ended(running.process.pid)
            if self._stopping.is_set():
                return
            facts = {"no": no + 1, "pid": running.process.pid, "exit_code": code}
            log.error(f"{self._kind}_process_died", extra=facts)
            if code == ExitCode.USAGE:  # the settings would be invalid again
                self._code = code
                self.stop_processes()
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _STABLE else pause
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause, running = min(pause * 2, _LONGEST_PAUSE), None

    async def _start_process(self, no: int) -> _SupervisedProcess:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._process_commands[no],
                "--supervisor-fd",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                env=self._environment,
                process_group=0,  # a terminal's Ctrl-C reaches the supervisor only
            )
        running = self._running[no] = _SupervisedProcess(process, ours)
        log.info(f"{self._kind}_process_started", extra={"no": no + 1, "pid": process.pid})
        if self._stopping.is_set():
            running.stop()
        return running
