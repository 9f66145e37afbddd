"""Workers of all installed languages on one workflow, while servers and workers are killed."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from sdk.conformance.conftest import WorkerProcess
from sdk.conformance.languages import LANGUAGES, selected
from sdk.founding.serving import SOON
from tests.ports import reserved_port

TASKS = 60
CHAIN = """
name: chaos
namespace_name: conformance
version: 1.0.0
steps:
  - {name: first, handler: {callable: sleep}, retry: {max_attempts: 10, initial_delay: 0.1}}
  - {name: left, handler: {callable: add}, dependencies: [first], retry: {max_attempts: 10}}
  - {name: right, handler: {callable: sleep}, dependencies: [first], retry: {max_attempts: 10}}
  - {name: last, handler: {callable: reads_ancestor}, dependencies: [left, right]}
"""


@contextmanager
def server_on(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends, then kill it."""
    command = [sys.executable, "-m", "tasker", "server", "--port", str(port)]
    command += ["--store", f"sqlite:{folder}/tasker.db"]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + SOON
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def running_steps(api: httpx.Client) -> int:
    """Return the number of steps that workers run."""
    return sum(worker["running"] for worker in api.get("/v1/workers").json()["workers"])


@pytest.mark.timeout(300)
def test_every_task_ends_although_servers_and_workers_are_killed(tmp_path: Path) -> None:
    deadline = time.monotonic() + 240
    languages = [LANGUAGES[name] for name in selected() if LANGUAGES[name].missing() is None]
    with ExitStack() as workers:
        port = workers.enter_context(reserved_port())
        url = f"http://127.0.0.1:{port}"
        with server_on(tmp_path, port), httpx.Client(base_url=url, timeout=SOON) as api:
            headers = {"Content-Type": "application/yaml"}
            assert 201 == api.post("/v1/templates", content=CHAIN, headers=headers).status_code
            body = {"name": "chaos", "namespace": "conformance"}
            context = {"ms": 500, "a": 1, "b": 2, "step": "left"}
            answer = api.post(
                "/v1/tasks/bulk", json={"tasks": [{**body, "context": context}] * TASKS}
            )
            tasks = [task["id"] for task in answer.json()["tasks"]]
            victims = [
                workers.enter_context(WorkerProcess(language, url, SLOTS="2"))
                for language in languages
            ]
            while running_steps(api) < 2:  # to lose
                assert time.monotonic() < deadline, [victim.output for victim in victims]
                time.sleep(0.02)
        for victim in victims:  # while no server is there
            workers.enter_context(WorkerProcess(victim.language, url, SLOTS="2"))
            victim.process.kill()
        for _ in range(2):
            with server_on(tmp_path, port):
                time.sleep(2)
        with server_on(tmp_path, port), httpx.Client(base_url=url, timeout=SOON) as api:
            ended: dict[str, str] = {}
            while len(ended) < TASKS and time.monotonic() < deadline:
                for task in set(tasks) - set(ended):
                    fields = api.get(f"/v1/tasks/{task}/wait", params={"timeout": 2}).json()
                    if fields["status"] in ("complete", "error"):
                        ended[task] = fields["status"]
                        assert {"got": {"sum": 3}} == fields["result"]
            assert dict.fromkeys(tasks, "complete") == ended
            steps = [api.get(f"/v1/tasks/{task}/steps").json() for task in tasks]
            assert max(step["attempts"] for each in steps for step in each) > 1
