"""`tasker server --processes`: several real processes behind one port."""

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.cli.conftest import PATIENCE, Process, Project

TASK = {"name": "shop.sell", "context": {"sku": "mug"}}
SERVE = ("server", "--port", "0", "--processes", "2", "-T", "sell.yaml")


@pytest.fixture
def serving(project: Project, postgres_store_url: str) -> Iterator[Process]:
    """Start two server processes on a PostgreSQL store."""
    with project.starting(*SERVE, TASKER_STORE=postgres_store_url) as supervisor:
        yield supervisor


def started(supervisor: Process) -> tuple[str, list[int]]:
    """Wait until both processes serve; return their common URL and their ids."""
    urls = {url_in(supervisor.until("server_started")) for _ in range(2)}
    pids = [pid_in(line) for line in supervisor.output if "server_process_started" in line]
    assert (1, 2) == (len(urls), len(pids))
    return urls.pop(), pids


def url_in(line: str) -> str:
    match = re.search(r"url=(\S+)", line)
    assert match is not None
    return match[1]


def pid_in(line: str) -> int:
    match = re.search(r"pid=(\d+)", line)
    assert match is not None
    return int(match[1])


def call(url: str, body: Any = None) -> Any:
    """Send a request on a connection of its own, and again where a process died with it."""
    data = None if body is None else json.dumps(body).encode()
    end = time.monotonic() + PATIENCE
    while True:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                text = response.read()
                return text.decode() if url.endswith("/metrics") else json.loads(text)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end


def creations(url: str) -> float:
    """Return the number of creations that the metrics count."""
    counts = re.findall(r'tasker_http_requests_total\{.*route="/v1/tasks",status="201"\} (\S+)',
                       call(f"{url}/metrics"))  # fmt: skip
    return sum(map(float, counts))


def test_processes_share_a_port_and_their_metrics(serving: Process) -> None:
    """Counts of a killed process are kept, and another process replaces it."""
    url, pids = started(serving)
    before = [call(f"{url}/v1/tasks", TASK)["id"] for _ in range(20)]
    counted = {creations(url) for _ in range(20)}

    os.kill(pids[1], signal.SIGKILL)
    died = serving.until("server_process_died")
    after = [call(f"{url}/v1/tasks", TASK)["id"] for _ in range(20)]
    restarted = pid_in(serving.until("server_process_started"))
    serving.until("server_started")
    total = creations(url)
    listed = {task["id"] for task in call(f"{url}/v1/tasks?limit=100")["tasks"]}
    serving.send(signal.SIGTERM)
    code = serving.end()

    assert {20.0} == counted
    assert f"pid={pids[1]} exit_code=-9" in died
    assert restarted not in pids
    assert 40.0 == total
    assert {*before, *after} == listed
    assert 0 == code
    assert 2 == sum("server_stopped" in line for line in serving.output)


def test_each_process_completes_its_requests_before_it_stops(serving: Process) -> None:
    url, _ = started(serving)
    with ExitStack() as stack:
        begun = [stack.enter_context(begin(url)) for _ in range(10)]
        serving.send(signal.SIGTERM)
        for _ in range(2):
            serving.until("stopping")
        for connection in begun:
            connection.sendall(json.dumps(TASK).encode())
        answers = [connection.recv(22) for connection in begun]

    assert [b"HTTP/1.1 201 Created\r\n"] * 10 == answers
    assert 0 == serving.end()


def begin(url: str) -> socket.socket:
    """Send the head of a creation, and wait until the server asks for its body."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE)
    head = (
        f"POST /v1/tasks HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(json.dumps(TASK))}\r\nExpect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
    return connection


def test_processes_end_when_their_supervisor_is_killed(serving: Process) -> None:
    url, _ = started(serving)
    call(f"{url}/v1/tasks", TASK)
    serving.send(signal.SIGKILL)
    for _ in range(2):
        serving.until("server_stopped")

    assert 2 == sum("supervisor_gone" in line for line in serving.output)


def test_each_process_has_a_worker_of_its_own(project: Project, postgres_store_url: str) -> None:
    worker = ("--with-worker", "-H", "shop.py")
    with project.starting(*SERVE, *worker, TASKER_STORE=postgres_store_url) as supervisor:
        url, pids = started(supervisor)
        made = call(f"{url}/v1/tasks", TASK)["id"]
        ended = call(f"{url}/v1/tasks/{made}/wait?timeout=60")
        workers = call(f"{url}/v1/workers")["workers"]
        supervisor.send(signal.SIGTERM)
        code = supervisor.end()

    assert "complete" == ended["status"]
    with_handlers = [each for each in workers if each["handlers"] != ["tasker.engine"]]
    assert len(pids) == len([each for each in with_handlers if each["alive"]])
    assert 0 == code


def test_sqlite_has_one_server_process(project: Project) -> None:
    refused = project.tasker(*SERVE)

    assert 2 == refused.code
    assert "--processes 2 needs PostgreSQL" in refused.err


def test_an_address_in_use_is_reported_once(project: Project, postgres_store_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ran = project.tasker(*SERVE, "--port", port, TASKER_STORE=postgres_store_url)

    assert 2 == ran.code
    assert 1 == ran.err.count(f"cannot listen on 127.0.0.1:{port}")


def test_an_error_in_the_settings_is_reported_once(
    project: Project, postgres_store_url: str
) -> None:
    ran = project.tasker(*SERVE, "--policies", "gone.yaml", TASKER_STORE=postgres_store_url)

    assert 2 == ran.code
    assert 1 == ran.err.count("gone.yaml: cannot be read")
