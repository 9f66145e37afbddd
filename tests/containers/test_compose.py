"""The image and compose.yaml in a real container engine. Run by `make test-containers`."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
IMAGE = "tasker:dev"
pytestmark = pytest.mark.timeout(600)


def run(*command: str, check: bool = True, environment: Mapping[str, str] = {}) -> str:
    """Run a command and return its output."""
    completed = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if check and completed.returncode:
        raise AssertionError(f"{' '.join(command)}: {completed.stdout}{completed.stderr}")
    return completed.stdout.strip()


def inspect(name: str) -> dict[str, Any]:
    """Return what the engine says about a container or an image."""
    document: dict[str, Any] = json.loads(run("docker", "inspect", name))[0]
    return document


def within(seconds: float, check: Any) -> Any:
    """Return the first true answer of `check`."""
    return asyncio.run(eventually(check, within=seconds))


@pytest.fixture(scope="session")
def image() -> str:
    """The image, built with the host's network: some engines reach no index otherwise."""
    run("docker", "build", "--network", "host", "--tag", IMAGE, ".")
    return IMAGE


class Compose:
    """compose.yaml as a project of its own, with a free port and fresh secrets."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        run("deploy/secrets", str(directory / "secrets"))
        self._project = f"tasker-test-{os.getpid()}"
        self._environment = {"SECRETS": str(directory / "secrets"), "PORT": str(self.port)}
        plugin = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
        self._command = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]

    def __call__(self, *arguments: str) -> str:
        return run(*self._command, "-p", self._project, *arguments, environment=self._environment)

    def containers(self, service: str) -> list[str]:
        """List the ids of a service's containers."""
        return self("ps", "--quiet", service).split()

    def health(self, service: str) -> set[str]:
        """Return the health states of a service's containers."""
        states = [inspect(container)["State"] for container in self.containers(service)]
        return {state["Health"]["Status"] for state in states}

    def tasker(self, *arguments: str) -> str:
        """Run a command in the server's container."""
        return self("exec", "-T", "server", "tasker", *arguments)

    def request(self, method: str, path: str, key: str, body: object = None) -> Any:
        """Send one request to the server and return the document of its answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


@pytest.fixture(scope="module")
def compose(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    assert shutil.which("docker")
    project = Compose(tmp_path_factory.mktemp("compose"))
    try:
        project("up", "--detach", "--no-build")
        yield project
    finally:
        project("down", "--volumes", "--timeout", "20")


@pytest.fixture(scope="module")
def key(compose: Compose) -> str:
    within(60, lambda: compose.health("server") == {"healthy"})
    return compose.tasker("key", "create", "test", "--role", "admin", "--namespace", "*")


def refund(compose: Compose, key: str) -> str:
    """Run one task to its end and return its id."""
    context = {"payment_id": "pay_123", "refund_amount": 4999}
    task = compose.request(
        "POST", "/v1/tasks", key, {"name": "payments.process_refund", "context": context}
    )
    ended = compose.request("GET", f"/v1/tasks/{task['id']}/wait?timeout=50", key)
    assert "complete" == ended["status"], ended
    return str(task["id"])


def test_the_image_runs_as_a_numeric_user_without_pip(image: str) -> None:
    config = inspect(image)["Config"]

    assert "10001:10001" == config["User"]
    assert "MIT" == config["Labels"]["org.opencontainers.image.licenses"]
    packages = (
        "import importlib.util as u; print([n for n in ('pip', 'hatchling') if u.find_spec(n)])"
    )
    assert "[]" == run("docker", "run", "--rm", "--entrypoint", "python", image, "-c", packages)


def test_tasker_is_a_small_separate_layer(image: str) -> None:
    """
    Pulling a release that changes only Tasker's code is then cheap.
    """
    history = run("docker", "history", "--human=false", "--format", "{{.Size}}", image)
    newest_first = [int(size) for size in history.split()]
    dependencies = next(index for index, size in enumerate(newest_first) if size > 50_000_000)

    assert sum(newest_first[:dependencies]) < 10_000_000


def test_every_service_becomes_healthy_on_a_fresh_volume(compose: Compose) -> None:
    within(60, lambda: compose.health("server") == {"healthy"})
    within(60, lambda: compose.health("worker") == {"healthy"})

    assert 2 == len(compose.containers("worker"))


def test_containers_have_only_the_privileges_that_they_need(compose: Compose) -> None:
    for service in ("server", "worker"):
        for container in compose.containers(service):
            host = inspect(container)["HostConfig"]
            assert host["ReadonlyRootfs"]
            assert ["ALL"] == host["CapDrop"]
            assert ["no-new-privileges:true"] == host["SecurityOpt"]


def test_no_password_is_in_the_environment(compose: Compose) -> None:
    for service in ("postgres", "server", "worker"):
        for container in compose.containers(service):
            assert [] == [
                entry
                for entry in inspect(container)["Config"]["Env"]
                if "postgresql://" in entry or entry.startswith("POSTGRES_PASSWORD=")
            ]


def test_a_task_runs_to_its_end(compose: Compose, key: str) -> None:
    refund(compose, key)


def test_a_killed_worker_is_restarted(compose: Compose, key: str) -> None:
    worker = compose.containers("worker")[0]
    kill = (
        "import os\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    words = open(f'/proc/{pid}/cmdline').read().split('\\0')\n"
        "    if int(pid) not in (1, os.getpid()) and 'worker' in words: os.kill(int(pid), 9)\n"
    )
    run("docker", "exec", worker, "python", "-c", kill, check=False)

    within(60, lambda: inspect(worker)["RestartCount"] == 1)
    within(60, lambda: compose.health("worker") == {"healthy"})


def test_the_data_survives_down_and_up(compose: Compose, key: str) -> None:
    task = refund(compose, key)

    compose("down", "--timeout", "20")
    compose("up", "--detach", "--no-build")
    within(60, lambda: compose.health("server") == {"healthy"})

    assert "complete" == compose.request("GET", f"/v1/tasks/{task}", key)["status"]


def test_sigterm_ends_servers_and_workers_with_code_0(compose: Compose, key: str) -> None:
    containers = [*compose.containers("server"), *compose.containers("worker")]

    compose("stop", "--timeout", "20", "server", "worker")

    assert [0, 0, 0] == [inspect(container)["State"]["ExitCode"] for container in containers]
