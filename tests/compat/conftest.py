"""A worker of the earlier package in this process, on a SQLite file of the test module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasker_core import HandlerRegistry, TaskerClient, Worker
from tasker_core.bootstrap import close_client

APP = Path(__file__).with_name("app")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """The worker of the application."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", f"sqlite:{tmp_path_factory.mktemp('compat') / 'tasker.db'}")
        patch.setenv("TASKER_TEMPLATE_PATH", str(APP / "templates"))
        HandlerRegistry.reset_instance()
        started = Worker.start(["tests.compat.app.handlers", "tasker_core.examples"])
        yield started
        started.stop()
        close_client()
        HandlerRegistry.reset_instance()


@pytest.fixture(scope="module")
def client(worker: Worker) -> TaskerClient:
    """A client of the application."""
    return TaskerClient(initiator="tests")
