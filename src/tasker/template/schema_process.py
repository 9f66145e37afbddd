"""Checks against schemas that may take long, in a process that is killed if they do.

The library holds the interpreter's lock while it checks, so a check in a thread would block the
event loop, and nothing could interrupt it.
"""

import atexit
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Timer
from typing import Any

import orjson

TIME_LIMIT = 2.0  #: seconds for one check
MEMORY_LIMIT = 1 << 30  #: bytes of address space of the process
_START_LIMIT = 60.0  #: seconds until the process must be ready
_COMMAND = (
    "from tasker.template.schema import answer_check_request;"
    " from tasker.template.schema_process import serve_checks; serve_checks(answer_check_request)"
)


class CheckTookTooLong(Exception):
    """A check exceeded its time or memory."""


class _CheckProcess:
    """The process that runs slow checks, started when it is needed.

    Only one thread uses it; it is closed when the interpreter exits.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run_check(self, question: Any) -> Any:
        """Return the answer of the process.

        Raises:
            CheckTookTooLong: The process was killed, or ran out of memory.
        """
        if self._process is None:
            self._process = _start_process()
        answer = _exchange_lines(self._process, orjson.dumps(question) + b"\n", TIME_LIMIT)
        if not answer:
            self.close()
            raise CheckTookTooLong
        return orjson.loads(answer)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def submit_check(question: Any) -> "Future[Any]":
    """Send a question to the process; questions are answered one after another."""
    return _thread.submit(_checker.run_check, question)


def _start_process() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603 - this interpreter, and code of this module
        [sys.executable, "-P", "-c", _COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # hides its output when memory is exhausted
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if not _exchange_lines(process, b"", _START_LIMIT):
        process.communicate()
        raise RuntimeError(f"the process that checks schemas exited with code {process.returncode}")
    return process


def _exchange_lines(process: subprocess.Popen[bytes], question: bytes, limit: float) -> bytes:
    """Write a line and read one; b"" if the process died or had to be killed."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError
    timer = Timer(limit, process.kill)
    timer.start()
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(question)
            process.stdin.flush()
        return process.stdout.readline()
    finally:
        timer.cancel()


def serve_checks(answer: Callable[[Any], Any]) -> None:
    """Answer the questions on stdin, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    with suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    out = sys.stdout.buffer
    out.write(b"ready\n")
    out.flush()
    for line in sys.stdin.buffer:
        out.write(orjson.dumps(answer(orjson.loads(line))) + b"\n")
        out.flush()


_checker = _CheckProcess()
_thread = ThreadPoolExecutor(1, thread_name_prefix="tasker-schemas")
atexit.register(_checker.close)
