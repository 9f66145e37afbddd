"""Fixtures: a scripted server, and worker processes of each language against it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NoReturn, Protocol, TypeVar

import pytest
from sdk.conformance.languages import LANGUAGES, Language, environment, selected
from sdk.conformance.server import ScriptedServer
from sdk.founding.serving import SOON


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that starts workers once per language.

    Another runtime of an SDK is tested against the scripted server alone.
    """
    if "language" in metafunc.fixturenames:
        names = selected()
        if "server" not in metafunc.fixturenames:
            names = [name for name in names if not LANGUAGES[name].sdk]
        elif metafunc.module.__name__.endswith("durable_calls"):
            names = [name for name in names if "durable_calls" not in LANGUAGES[name].differs]
        metafunc.parametrize("language", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def language(request: pytest.FixtureRequest) -> Language:
    """Return a language whose toolchain is here; else skip, or fail under TASKER_REQUIRE=all."""
    return require(LANGUAGES[request.param])


@pytest.fixture(scope="session")
def every_language() -> list[Language]:
    """Return all languages; skip if a toolchain is missing, or fail under TASKER_REQUIRE=all."""
    return [require(language) for language in LANGUAGES.values() if not language.sdk]


class Tested(Protocol):
    """What tests run if this machine has what it needs."""

    @property
    def name(self) -> str: ...

    @property
    def missing(self) -> Callable[[], str | None]: ...


Some = TypeVar("Some", bound=Tested)


def require(tested: Some) -> Some:
    """Return what can be tested here; else skip, or fail under TASKER_REQUIRE=all."""
    if problem := tested.missing():
        leave_out(f"{tested.name}: {problem}")
    return tested


def leave_out(problem: str) -> NoReturn:
    """Skip the test, or fail under TASKER_REQUIRE=all."""
    if os.environ.get("TASKER_REQUIRE") == "all":
        pytest.fail(problem)
    pytest.skip(problem)


@pytest.fixture
def server(language: Language) -> Iterator[ScriptedServer]:
    """Return a running scripted server; fail if a worker broke a rule of the protocol."""
    scripted = ScriptedServer()
    scripted.claim_ahead = 500 if "claims_ahead" in language.differs else None
    scripted.may_free_early = "frees_early" in language.differs
    with scripted.running():
        yield scripted
    assert [] == scripted.violations


class WorkerProcess:
    """A worker as a process of its own."""

    def __init__(self, language: Language, url: str, **values: str) -> None:
        self.language = language
        self.process = subprocess.Popen(
            language.command(),
            cwd=language.folder,
            env=environment(TASKER_URL=url, **values),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        """Return what the process has written."""
        return "\n".join(self.lines)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def wait(self, timeout: float = SOON) -> int:
        """Return the exit code of the process."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.wait()
        if error is not None:
            error.add_note(f"output of the worker:\n{self.output[-4000:]}")


@pytest.fixture
def start(language: Language, server: ScriptedServer) -> Any:
    """Return a function that starts a worker and waits until it has registered."""

    def begin(*, slots: int = 4, registers: bool = True, **values: str) -> WorkerProcess:
        before = len(server.workers)
        worker = WorkerProcess(language, server.url, SLOTS=str(slots), **values)
        if registers:
            deadline = time.monotonic() + SOON
            while len(server.workers) == before:
                if worker.process.poll() is not None or time.monotonic() > deadline:
                    worker.process.kill()
                    worker.wait()
                    pytest.fail(f"the worker did not register:\n{worker.output}")
                time.sleep(0.01)
        return worker

    return begin


@pytest.fixture
def running(server: ScriptedServer, start: Any) -> Iterator[ScriptedServer]:
    """Return the server, with a worker of four slots."""
    with start():
        yield server
