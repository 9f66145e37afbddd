"""A small project on disk, and ways to run the command line in it."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple

import pytest
from tests.process_state import (  # noqa: F401
    restored_logging,
    unchanged_by_module,
    unchanged_by_test,
)
from typer.testing import CliRunner

from tasker.cli import make_app

PATIENCE = 300.0  #: seconds; only a test that fails takes so long

HANDLERS = """
    import os
    import sys
    import threading

    from tasker import Context, PermanentError, RetryableError, handler


    @handler
    def reserve(sku: str, quantity: int = 1) -> dict:
        print("printed by a handler")
        return {"reservation": f"r-{sku}", "cents": 1250 * quantity}


    @handler
    async def charge(reserve: dict, context: Context, broke: bool = False) -> dict:
        if broke:
            raise PermanentError("the card is expired", code="CARD_EXPIRED")
        if context.attempt < 2:
            raise RetryableError("the bank is busy")
        return {"receipt": 7}


    @handler
    def pack(reserve: dict) -> str:
        return "parcel"


    @handler
    def ship(charge: dict, pack: str) -> str:
        return f"{pack} shipped"
"""

TEMPLATE = """
    name: sell
    namespace_name: shop
    version: 1.0.0
    description: Reserve, charge and pack at once, ship
    steps:
      - name: reserve
      - name: charge
        dependencies: [reserve]
        retry: {max_attempts: 3, backoff: fixed, initial_delay: 0.01}
      - name: pack
        dependencies: [reserve]
      - name: ship
        dependencies: [charge, pack]
    input_schema:
      type: object
      required: [sku]
      properties:
        sku: {type: string}
        quantity: {type: integer, minimum: 1}
"""


class Ran(NamedTuple):
    """What a command led to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Process:
    """A command that runs, and its output so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: Queue[str] = Queue()
        self.output: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, word: str) -> str:
        """Wait for a line of output that contains `word`; return that line."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except Empty:
                raise AssertionError(f"{word!r} never came; output: {self.output}") from None
            self.output.append(line)
            if word in line:
                return line

    def send(self, which: signal.Signals) -> None:
        self._process.send_signal(which)

    def insist(self, which: signal.Signals) -> int:
        """Send a signal once a second until the process ends; return its exit code."""
        for _ in range(int(PATIENCE)):
            try:
                self._process.wait(1)
                break
            except subprocess.TimeoutExpired:
                self.send(which)
        return self.end()

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        code = self._process.wait(PATIENCE)
        while not self._lines.empty():
            self.output.append(self._lines.get())
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self._lines.put(line)


class Project:
    """A directory with handlers, a template and a store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("shop.py", HANDLERS)
        self.write("sell.yaml", TEMPLATE)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def tasker(self, *arguments: str, **environment: str) -> Ran:
        """Run a command in a separate process."""
        done = subprocess.run(
            command(*arguments),
            cwd=self.root,
            env=_environment(environment),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def sell(self, *arguments: str, **environment: str) -> Ran:
        """Run the template's task in a separate process."""
        return self.tasker(
            "run", "sell.yaml", "--handlers", "shop.py", "--context", '{"sku": "mug"}',
            *arguments, **environment,
        )  # fmt: skip

    @contextmanager
    def starting(self, *arguments: str, **environment: str) -> Iterator[Process]:
        """Start a command; kill it at the end of the block if it still runs."""
        process = subprocess.Popen(
            command(*arguments),
            cwd=self.root,
            env=_environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield Process(process)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "tasker", *arguments]


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TASKER_", "PYTEST_")) and name not in ("NO_COLOR", "FORCE_COLOR")
    }
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class Here:
    """Runs commands in this process, in the project's directory."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._runner = CliRunner()
        self._app = make_app()

    def __call__(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        result = self._runner.invoke(
            self._app, list(arguments), input=input, env=environment, prog_name="tasker"
        )
        return Ran(result.exit_code, result.stdout, result.stderr)

    def run(
        self,
        *arguments: str,
        context: str = '{"sku": "mug"}',
        input: str | None = None,  # noqa: A002
    ) -> Ran:
        """Run a task of the template to its end."""
        given = ("run", "sell.yaml", "-H", "shop.py", "-c", context)
        return self(*given, *arguments, input=input)

    def task(self, context: str = '{"sku": "mug"}') -> Any:
        """Run a task of the template to its end; return its document."""
        return self.run("--json", context=context).document


@pytest.fixture
def tasker(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """Run commands in this process; it is afterwards as it was before."""
    monkeypatch.chdir(project.root)
    for name in ("TASKER_STORE", "TASKER_ENVIRONMENT", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path, modules = list(sys.path), set(sys.modules)
    with restored_logging():
        yield Here(project)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(project.root):
            del sys.modules[name]


def words(text: str) -> str:
    """Write a text in one line, without the frame that errors of usage have."""
    return " ".join(text.translate(str.maketrans("", "", "│╭╮╰╯─")).split())


def uncoded(text: str) -> str:
    """Write what was meant for a terminal without the codes that command it."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
