"""The workers of all languages against `tasker server`, each with a server of its own."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sdk.conformance.conftest import WorkerProcess
from sdk.conformance.languages import Language
from sdk.conformance.test_steps import VALUES
from sdk.founding.serving import SOON, serving, wait_for_end

TEMPLATE = """
name: {name}
namespace_name: conformance
version: 1.0.0
steps:
  - name: step
    handler: {{callable: {handler}}}
    timeout_seconds: {timeout}
    retry: {{max_attempts: {attempts}, initial_delay: 0.05, backoff: fixed}}
"""
CHAIN = """
name: chain
namespace_name: conformance
version: 1.0.0
steps:
  - {name: first, handler: {callable: add}}
  - {name: second, handler: {callable: reads_ancestor}, dependencies: [first]}
  - {name: third, handler: {callable: reads_ancestor}, dependencies: [second]}
"""
ROUTES = """
name: routes
namespace_name: conformance
version: 1.0.0
steps:
  - {name: route, type: decision, handler: {callable: decide}}
  - {name: left, handler: {callable: echo}, dependencies: [route]}
  - {name: right, handler: {callable: echo}, dependencies: [route]}
  - {name: up, handler: {callable: echo}, dependencies: [route]}
"""
VERSIONS = """
name: versions
namespace_name: conformance
version: 1.0.0
steps:
  - {name: first, handler: {callable: which, version: 1.0.0}}
  - {name: second, handler: {callable: which, version: "^2.0"}}
"""
ELSEWHERE = """
name: elsewhere
namespace_name: elsewhere
version: 1.0.0
steps:
  - {name: elsewhere, handler: {callable: which}}
"""
SPAWNS = """
name: spawns
namespace_name: conformance
version: 1.0.0
steps:
  - {name: step, handler: {callable: spawns}, map: {over: input.pages, as: page}}
"""
ONE_STEP = [
    ("echo", "echo", 60, 3),
    ("child", "echo", 60, 3),
    ("fail_permanent", "fail_permanent", 60, 3),
    ("fail_retryable", "fail_retryable", 60, 1),
    ("raise", "raise", 60, 2),
    ("no_json", "no_json", 60, 3),
    ("checkpointing", "checkpointing", 60, 3),
    ("hands_back", "hands_back", 60, 3),
    ("parent", "parent", 60, 3),
    ("creates", "creates", 60, 3),
    ("once", "once", 60, 3),
    ("waits", "waits", 60, 3),
    ("waits_on", "waits_on", 60, 3),
    ("sleeps", "sleeps", 60, 3),
    ("sleep", "sleep", 60, 3),
    ("slow", "sleep", 1, 1),
    ("logs", "logs", 60, 3),
]


class RealServer:
    """A Tasker server that has the templates of these tests."""

    def __init__(self, api: httpx.Client) -> None:
        self.api = api
        one_step = [
            TEMPLATE.format(name=name, handler=handler, timeout=timeout, attempts=attempts)
            for name, handler, timeout, attempts in ONE_STEP
        ]
        for text in (*one_step, CHAIN, ROUTES, VERSIONS, ELSEWHERE, SPAWNS):
            headers = {"Content-Type": "application/yaml"}
            answer = self.api.post("/v1/templates", content=text, headers=headers)
            assert answer.status_code == 201, answer.text

    def create(self, name: str, context: Any = None, namespace: str = "conformance") -> str:
        """Create a task; return its id."""
        body = {"name": name, "namespace": namespace, "context": context or {}}
        answer = self.api.post("/v1/tasks", json=body)
        assert answer.status_code == 201, answer.text
        task: str = answer.json()["id"]
        return task

    def ended(self, task: str) -> Any:
        """Return a task when it has ended."""
        return wait_for_end(self.api, task)

    def result(self, name: str, context: Any = None) -> Any:
        """Run a task, and return its result."""
        task = self.ended(self.create(name, context))
        assert "complete" == task["status"], self.step(task["id"])
        return task["result"]

    def error(self, name: str, context: Any = None) -> Any:
        """Run a task that fails, and return its step."""
        task = self.ended(self.create(name, context))
        assert "error" == task["status"]
        return self.step(task["id"])

    def step(self, task: str) -> Any:
        """Return the only step of a task."""
        return self.api.get(f"/v1/tasks/{task}/steps").json()[0]

    def wait_for(self, task: str, status: str) -> Any:
        """Return the only step of a task when it has a status."""
        deadline = time.monotonic() + SOON
        while (step := self.step(task))["status"] != status:
            assert time.monotonic() < deadline, step
            time.sleep(0.02)
        return step


@pytest.fixture(scope="module")
def real(language: Language, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """Run a server, and a worker of each language in turn."""
    folder: Path = tmp_path_factory.mktemp(language.name)
    with (
        serving(folder) as url,
        httpx.Client(base_url=url, timeout=SOON) as api,
    ):
        server = RealServer(api)
        with WorkerProcess(language, url, SLOTS="4"):
            yield server


def test_results_and_contexts_are_returned_unchanged(real: RealServer) -> None:
    assert VALUES == real.result("echo", VALUES)


def test_a_handler_reads_the_results_of_all_ancestors(real: RealServer) -> None:
    assert {"got": {"sum": 3}} == real.result("chain", {"a": 1, "b": 2, "step": "first"})


def test_a_step_reaches_the_handler_of_its_version_and_namespace(real: RealServer) -> None:
    tasks = [real.create("versions"), real.create("elsewhere", namespace="elsewhere")]
    codes = {
        step["name"]: step["result"]["code"]
        for task in tasks
        for step in real.api.get(f"/v1/tasks/{real.ended(task)['id']}/steps").json()
    }
    assert {name: name for name in ("first", "second", "elsewhere")} == codes


def test_a_decision_chooses_the_next_steps(real: RealServer) -> None:
    task = real.ended(real.create("routes"))
    statuses = {step["name"]: step["status"] for step in task["steps"]}
    assert {
        "route": "complete",
        "left": "complete",
        "right": "complete",
        "up": "skipped",
    } == statuses


@pytest.mark.parametrize(
    ("name", "code", "attempts"),
    [
        ("fail_permanent", "STOLEN", 1),
        ("fail_retryable", "LATER", 1),
        ("raise", None, 2),
        ("no_json", "invalid_result", 1),
    ],
)
def test_failures_have_their_codes(
    language: Language, real: RealServer, name: str, code: str | None, attempts: int
) -> None:
    if code == "invalid_result" and "invalid_input" in language.differs:
        code = "invalid_input"
    step = real.error(name)
    assert (code, attempts) == (step["error"].get("code"), step["attempts"])


def test_an_attempt_ends_at_its_timeout(real: RealServer) -> None:
    step = real.error("slow", {"ms": 20_000})
    assert "timeout" == step["error"]["code"]


def test_checkpoints_reach_the_next_attempt(real: RealServer) -> None:
    assert {"from": {"done": 1}} == real.result("checkpointing")
    assert {"from": {"row": 5}} == real.result("hands_back")


def test_a_task_waits_for_its_child(real: RealServer) -> None:
    task = real.create("parent")
    assert {"child": {"n": 1}} == real.ended(task)["result"]


def test_an_instance_adds_instances_to_its_map(real: RealServer) -> None:
    links = {"index": ["about", "blog"], "blog": ["post"]}
    result = real.result("spawns", {"pages": ["index"], "links": links})
    assert ["index", "about", "blog", "post"] == result


def test_created_tasks_belong_to_the_step(real: RealServer) -> None:
    task = real.create("creates")
    child = real.ended(real.ended(task)["result"]["id"])
    assert (task, "complete", {"n": 2}) == (child["parent_id"], child["status"], child["result"])
    assert task == child["correlation_id"]


def test_durable_calls_are_not_repeated(real: RealServer) -> None:
    assert {"drawn": 1} == real.result("once")


def test_log_records_and_progress_are_kept_with_the_attempt(real: RealServer) -> None:
    task = real.ended(real.create("logs", {"ms": 0}))
    logs = real.api.get(f"/v1/tasks/{task['id']}/logs").json()["records"]
    begun, slow, *progress = (
        (line["level"], line["message"], line["fields"], line["source"]) for line in logs
    )
    assert ("info", "begun", {"page": 12}) == begun[:3]
    assert ("warning", "slow", {}) == slow[:3]
    assert ("info", "page 12", {"fraction": 0.4}, "progress") == progress[-1]


def test_sleeps_and_signals_wait_without_a_worker(real: RealServer) -> None:
    sleeping, waiting = real.create("sleeps"), real.create("waits")
    for task in (sleeping, waiting):
        real.wait_for(task, "waiting")
    real.api.post(f"/v1/tasks/{waiting}/signals", json={"name": "paid", "payload": {"cents": 5}})
    assert {"paid": {"cents": 5}} == real.ended(waiting)["result"]
    assert "waiting" == real.step(sleeping)["status"]
    assert {"paid": None} == real.result("waits_on")


def test_a_cancelled_task_stops_its_handler(real: RealServer) -> None:
    tasks = [real.create("sleep", {"ms": 60_000}) for _ in range(4)]
    for task in tasks:
        real.wait_for(task, "in_progress")
    for task in tasks:
        assert 200 == real.api.post(f"/v1/tasks/{task}/cancel", json={"reason": "test"}).status_code
    begun = time.monotonic()
    assert {"a": 1} == real.result("echo", {"a": 1})
    assert time.monotonic() - begun < 30


def test_a_stopped_worker_releases_its_steps_to_another(language: Language, tmp_path: Path) -> None:
    with serving(tmp_path) as url, httpx.Client(base_url=url, timeout=SOON) as api:
        server = RealServer(api)
        with WorkerProcess(language, url, GRACE="0.2") as worker:
            task = server.create("sleep", {"ms": 3000})
            server.wait_for(task, "in_progress")
            worker.send(signal.SIGTERM)
            assert 0 == worker.wait()
        assert "enqueued" == server.step(task)["status"]
        with WorkerProcess(language, url):
            assert {"slept": 3000} == server.ended(task)["result"]
