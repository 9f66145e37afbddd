"""A server that speaks the worker protocol from a script, and misbehaves on demand.

It records all requests, and knows nothing of Tasker's code. A test adds steps, starts a worker
process against `url`, waits for what the worker did, and asserts on `requests` and on the steps'
outcomes.
"""

import itertools
import json
import select
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.ports import reserve

Json = Any
Answer = tuple[int, Json]

POLL = 0.02  #: seconds between two looks at the connection of a parked request
PROTOCOLS = range(1, 2)
WITHIN = 60.0  #: seconds; only a test that fails waits so long


@dataclass(eq=False)
class Step:
    """A step that the server hands out, and what became of it."""

    handler: str
    context: Json = field(default_factory=dict)
    name: str = "step"
    namespace: str = "conformance"
    handler_version: str = ""
    """The version of the handler that it requires; empty: any."""
    results: dict[str, Json] = field(default_factory=dict)
    config: dict[str, Json] = field(default_factory=dict)
    max_attempts: int = 3
    timeout_s: float | None = None
    then: list["Step"] = field(default_factory=list)
    """Steps that its completion frees."""
    by_reference: bool = False
    """Whether the worker has to fetch context and results."""
    extra: dict[str, Json] = field(default_factory=dict)
    """Further fields of the claim, overriding the others."""

    task_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    template_id: int = field(default_factory=itertools.count(1).__next__)
    status: str = "enqueued"
    attempt: int = 0
    counted_attempts: int = 0
    """Attempts that count against `max_attempts`."""
    ticket: str | None = None
    worker: str | None = None
    checkpoint: Json = None
    items: dict[str, Json] = field(default_factory=dict)
    calls: dict[str, dict[str, Json]] = field(default_factory=dict)
    """Records of durable calls by name."""
    logs: dict[int, dict[str, Json]] = field(default_factory=dict)
    """Log records by their number."""
    cancelled_at: float | None = None
    cancelled_at_checkpoint: bool = False
    """Whether it is cancelled as soon as its checkpoint is stored."""
    outcomes: list[dict[str, Json]] = field(default_factory=list)
    """The outcomes that were accepted, in order."""
    waits_for: dict[str, Json] | None = None

    @property
    def outcome(self) -> dict[str, Json]:
        """Return its last outcome."""
        return self.outcomes[-1]

    @property
    def result(self) -> Json:
        """Return its result, or raise an AssertionError if it is not complete."""
        assert "complete" == self.status, self.outcomes
        return self.outcome["result"]

    def claim_fields(self) -> dict[str, Json]:
        """Return the step as a claim's answer presents it."""
        fields: dict[str, Json] = {
            "ticket": self.ticket,
            "task_id": self.task_id,
            "step": self.name,
            "handler": self.handler,
            "method": None,
            "namespace": self.namespace,
            "template": "case",
            "version": "1.0.0",
            "attempt": self.attempt,
            "counted_attempts": self.counted_attempts,
            "max_attempts": self.max_attempts,
            "timeout_s": self.timeout_s,
            "heartbeat_timeout_s": None,
            "idempotency_key": f"{self.task_id}:{self.name}",
            "correlation_id": f"correlation-{self.task_id}",
            "parent_id": None,
            "traceparent": None,
            "priority": 2,
            "completion_url": None,
            "no": len(self.results) + 1,
            "template_id": self.template_id,
            "queued_s": 0.0,
        }
        if self.items:
            fields["instance"] = 0
            fields["surroundings"] = {"node": fields["no"], "spawned_by": 0, "offsets": {}}
        data = {"payload": True} if self.by_reference else self.payload()
        return fields | data | self.extra

    def template(self) -> dict[str, Json]:
        """Return its template: the steps whose results it gets, itself, and those that it frees."""
        before = [{"name": name, "handler": {"callable": "echo"}} for name in self.results]
        step = {
            "name": self.name,
            "handler": {
                "callable": self.handler,
                "initialization": self.config,
                **({"version": self.handler_version} if self.handler_version else {}),
            },
            "dependencies": [*self.results],
            "retry": {"max_attempts": self.max_attempts},
        }
        limits = {
            "timeout_seconds": self.timeout_s,
            "heartbeat_timeout": self.extra.get("heartbeat_timeout_s"),
        }
        set_limits = {name: seconds for name, seconds in limits.items() if seconds is not None}
        names = {"name": "case", "namespace_name": self.namespace, "version": "1.0.0"}
        after = [{"name": f"after_{n}", "dependencies": [self.name]} for n in range(len(self.then))]
        return {**names, "steps": [*before, step | set_limits, *after]}

    def payload(self) -> dict[str, Json]:
        """Return the part of the claim that may have to be fetched."""
        return {
            "context": self.context,
            "config": self.config,
            "results": self.results,
            "failures": {},
            "checkpoint": self.checkpoint,
            "items": self.items,
        }


@dataclass(eq=False)
class WorkerRow:
    """A registered worker."""

    id: str
    body: dict[str, Json]
    lost: bool = False
    retired: bool = False
    claim_is_connected: Callable[[], bool] | None = None  #: while a claim is under way

    def find_handler_index(self, step: Step) -> int | None:
        """Return the index of the handler that a step is for, or None."""
        for name in (f"{step.namespace}.{step.handler}", step.handler):
            for index, handler in enumerate(self.body["handlers"]):
                namespaces = handler.get("namespaces") or self.body["namespaces"]
                serves = not {step.namespace, "*"}.isdisjoint(namespaces)
                versions = handler.get("versions") or ()
                offers = not step.handler_version or step.handler_version in versions
                if handler["name"] == name and serves and offers:
                    return index
        return None


@dataclass
class Task:
    """A task that a handler has created."""

    id: str
    body: dict[str, Json]
    ticket: str | None
    key: str | None
    status: str = "in_progress"
    result: Json = None
    error: Json = None


@dataclass
class Request:
    """A request as it arrived."""

    at: float
    method: str
    path: str
    route: str
    body: Json
    headers: dict[str, str]
    status: int | None = None
    """The status of its answer; None while it is under way, 0 if it was cut off."""
    answer: Json = None
    ended: float | None = None
    held: int = 0
    """How many steps its worker held when it arrived, apart from those that it settles."""

    @property
    def asked(self) -> int:
        """Return the number of steps that it asks for."""
        most: int = self.body.get("max", 0)
        return most


@dataclass
class Fault:
    """What a request gets instead of its answer."""

    route: str
    kind: str = "status"
    """`status`; `close`: the connection is reset; `half`: it is reset inside the answer;
    `garbage`: the answer is not JSON."""
    after: bool = False
    """Whether the server has done what was asked before it fails."""
    status: int = 503
    body: Json = field(default_factory=lambda: {"code": "store_unavailable", "detail": "later"})
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


def is_renewed(server: "ScriptedServer", *steps: Step) -> bool:
    """Return whether a worker has named its attempts of steps in a renewal: it runs them."""
    renewals = [request.body["held"] for request in server.of_route("renew")]
    return all(any(step.ticket in held for held in renewals) for step in steps)


def problem(status: int, code: str, detail: str) -> Answer:
    """Return an error as a problem document."""
    return status, {"status": status, "code": code, "title": code, "detail": detail}


class ScriptedServer:
    """The state behind the routes. Use its methods from the test's thread."""

    def __init__(self, *, lease_s: float = 5.0, renew_s: float = 0.5, wait_s: float = 2.0) -> None:
        self.settings = {"lease_s": lease_s, "renew_s": renew_s, "wait_s": wait_s}
        self.api_key: str | None = None
        self.quiet = False
        self.max_outcomes = 500
        self.claim_ahead: int | None = None
        """Steps that a worker may have beyond its slots; None: answers do not say."""
        self.settlements: int | None = None
        """Settlements that a worker may have in progress; None: answers do not say."""
        self.may_free_early = False
        """Whether a worker may ask for steps in place of those whose settlement is under way."""
        self.names_handlers = True
        """Whether claims have the field `handler_index`."""
        self.steps: list[Step] = []
        self.workers: dict[str, WorkerRow] = {}
        self.tasks: dict[str, Task] = {}
        self.requests: list[Request] = []
        self.violations: list[str] = []
        """What the worker did that the protocol forbids."""
        self.signals: list[dict[str, Json]] = []
        self.faults: list[Fault] = []
        self.url = ""
        self.hides_cancellations = False
        self.extra: dict[str, Json] = {}
        """Further fields of all answers."""
        self.settle_takes = 0.0
        """Seconds from the arrival of a settlement to its answer."""
        self.holds_settlements = False
        """Whether settlements wait for their answer until this is false again."""
        self._port = reserve()
        self._changed = threading.Condition()

    # ------------------------------------------------------------------ the test's side

    def add(self, *steps: Step) -> Step:
        """Enqueue steps, and return the first."""
        with self._changed:
            self.steps.extend(steps)
            self._changed.notify_all()
        return steps[0]

    def fail_next(self, route: str, kind: str = "status", **options: Any) -> Fault:
        """Make the next request of a route fail."""
        fault = Fault(route, kind, **options)
        with self._changed:
            self.faults.append(fault)
        return fault

    def cancel(self, step: Step) -> None:
        """Cancel a step's attempt."""
        with self._changed:
            step.cancelled_at = time.monotonic()
            step.status = "cancelled"
            self._changed.notify_all()

    def lose_leases(self) -> None:
        """End all leases; attempts in progress count as lost and are enqueued again."""
        with self._changed:
            for worker in self.workers.values():
                worker.lost = True
            for step in self.steps:
                if step.status == "in_progress":
                    step.status = "enqueued"
            self._changed.notify_all()

    def forget_workers(self) -> None:
        """Forget all workers; their attempts are enqueued again."""
        with self._changed:
            for worker in self.workers.values():
                self._retire(worker)

    def end_leases(self) -> None:
        """End all leases before another worker takes the steps over."""
        with self._changed:
            for worker in self.workers.values():
                worker.lost = True
            self._changed.notify_all()

    def end_task(self, task: Task, status: str, *, result: Json = None, error: Json = None) -> None:
        """End a task that a handler has created, and wake the steps that wait for it."""
        with self._changed:
            task.status, task.result, task.error = status, result, error
            for step in self.steps:
                if step.status == "waiting" and (step.waits_for or {}).get("task") == task.id:
                    step.status = "enqueued"
            self._changed.notify_all()

    def wake(self, step: Step, value: Json = None) -> None:
        """End the wait of a parked step: record the value of its durable call, and enqueue it."""
        with self._changed:
            assert "waiting" == step.status, self.describe()
            name = (step.waits_for or {}).get("call")
            if name is not None:
                step.calls[name] |= {"value": value, "remaining_s": 0.0}
            step.status = "enqueued"
            self._changed.notify_all()

    def update_step(self, step: Step, **attributes: Json) -> None:
        """Set attributes of a step."""
        with self._changed:
            for name, value in attributes.items():
                setattr(step, name, value)
            self._changed.notify_all()

    def update(self, **attributes: Json) -> None:
        """Set attributes of the server, and wake the requests that wait."""
        with self._changed:
            for name, value in attributes.items():
                setattr(self, name, value)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], what: str, timeout: float = WITHIN) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not condition():
                if time.monotonic() > deadline:
                    raise AssertionError(f"not within {timeout:g} s: {what}\n{self.describe()}")
                self._changed.wait(0.05)

    def wait_for_outcomes(self, *steps: Step, timeout: float = WITHIN) -> None:
        """Wait until steps have ended."""
        self.wait(
            lambda: all(step.status in ("complete", "error") for step in steps),
            "all steps have ended",
            timeout,
        )

    def of_route(self, route: str) -> list[Request]:
        """Return the requests of a route, in their order."""
        return [request for request in self.requests if request.route == route]

    def describe(self) -> str:
        """Return the state in words, for messages of failures."""
        steps = [f"  {step.handler} {step.status} {step.outcomes[-1:]}" for step in self.steps]
        requests = [
            f"  {request.method} {request.path} {request.status} {str(request.body)[:200]}"
            for request in self.requests[-15:]
        ]
        return "\n".join(["steps:", *steps, "last requests:", *requests])

    # ------------------------------------------------------------------ routes

    def answer(self, request: Request, is_connected: Callable[[], bool]) -> Answer | None:
        """Return the answer to a request, or None if the caller has gone."""
        parts = request.path.split("?")[0].strip("/").split("/")
        with self._changed:
            if self.api_key is not None and request.headers.get("x-api-key") != self.api_key:
                return problem(401, "unauthenticated", "The key is unknown; use another one.")
            match request.method, parts:
                case "POST", ["v1", "workers"]:
                    return self._register(request.body)
                case "GET", ["health", "live"]:
                    return 200, {"status": "ok"}
                case "POST", ["v1", "tasks"]:
                    return self._create_task(request)
                case "GET", ["v1", "tasks", task_id, *_]:
                    return self._get_task(task_id)
                case "POST", ["v1", "tasks", task_id, "signals"]:
                    self.signals.append({"task_id": task_id, **request.body})
                    return 201, {"created": True, "step": None}
                case method, ["v1", "workers", worker_id, *rest]:
                    return self._of_worker(method, worker_id, rest, request, is_connected)
        return problem(404, "no_such_route", f"no route {request.method} {request.path}")

    def _of_worker(
        self,
        method: str,
        worker_id: str,
        rest: list[str],
        request: Request,
        is_connected: Callable[[], bool],
    ) -> Answer | None:
        worker = self.workers.get(worker_id)
        if worker is None or worker.retired:
            return problem(404, "unknown_worker", f"no worker {worker_id}; register again")
        body = request.body or {}
        match method, rest:
            case "POST", ["settle"] if not worker.lost or not body.get("max"):
                return self._settle(worker, body)
            case "POST", ["claim"] if not worker.lost:
                return self._claim(worker, body, is_connected)
            case "POST", ["renew"] if not worker.lost:
                return self._renew(worker, body, is_connected)
            case "POST", ["resume"] if not worker.lost:
                return self._resume(worker, body)
            case "POST", [name] if not worker.lost and name in (
                "payload",
                "checkpoint",
                "calls",
                "once",
                "run_task",
                "template",
                "logs",
            ):
                step = self._held(worker, body["ticket"])
                if step is None:
                    return problem(409, "attempt_cancelled", "the attempt has ended")
                return self._of_attempt(name, step, body)
            case "DELETE", []:
                return self._retire(worker)
        if worker.lost:
            return problem(409, "lease_lost", "the lease has ended; register again")
        return problem(404, "no_such_route", f"no route {request.path}")

    def _register(self, body: dict[str, Json]) -> Answer:
        if body["protocol"] not in PROTOCOLS:
            return problem(400, "protocol_unsupported", "this server speaks protocol 1 to 1")
        handlers = body["handlers"]
        if not body.get("namespaces") and not all(each.get("namespaces") for each in handlers):
            return problem(400, "invalid_request", "namespaces: required")
        worker = WorkerRow(f"{len(self.workers) + 1}", body)
        self.workers[worker.id] = worker
        self._changed.notify_all()
        limits = {"max_outcomes": self.max_outcomes, "body_bytes": 33_554_432, "queues": 1}
        ahead = {"claim_ahead": self.claim_ahead, "settlements": self.settlements}
        limits |= {name: limit for name, limit in ahead.items() if limit is not None}
        features = ["signals", "approvals", "durable_calls", "spawn", "run_task", "logs"]
        lists: dict[str, Json] = {"unserved": [], "refused": [], "features": features}
        return 201, {"worker": worker.id, "protocol": 1, **self.settings, **limits, **lists}

    def _claim(
        self, worker: WorkerRow, body: dict[str, Json], is_connected: Callable[[], bool]
    ) -> Answer | None:
        if worker.claim_is_connected is not None and not worker.claim_is_connected():
            self._changed.wait_for(lambda: worker.claim_is_connected is None, 10.0)
        if worker.claim_is_connected is not None:
            self.violations.append("two claims under way")
            message = "this worker already has a claim request in progress; wait for its response"
            return problem(409, "claim_under_way", message)
        worker.claim_is_connected = is_connected
        try:
            deadline = time.monotonic() + min(body.get("wait_s", 0), self.settings["wait_s"])
            while is_connected() and self._gone(worker) is None:
                steps = self._take(worker, body["max"])
                wait = deadline - time.monotonic()
                if steps or wait <= 0 or self.quiet:
                    return 200, {"steps": steps, "cancelled": [], "quiet": self.quiet}
                self._changed.wait(min(wait, POLL))
            return self._gone(worker)
        finally:
            worker.claim_is_connected = None
            self._changed.notify_all()

    def _take(self, worker: WorkerRow, limit: int) -> list[Json]:
        if self.claim_ahead is not None:
            limit = min(limit, worker.body["slots"] + self.claim_ahead - self._count_held(worker))
        waiting = [step for step in self.steps if step.status == "enqueued"]
        taken = [] if self.quiet else waiting[: max(limit, 0)]
        for step in taken:
            step.attempt += 1
            step.counted_attempts += 1
            step.status, step.worker = "in_progress", worker.id
            step.ticket = f"{worker.id}.{uuid.uuid4().hex}"
        held = self._count_held(worker)
        if held > worker.body["slots"] + (self.claim_ahead or 0) and not self.may_free_early:
            self.violations.append(f"{held} steps for {worker.body['slots']} slots")
        self._changed.notify_all()
        return [self._claim_fields(worker, step) for step in taken]

    def _count_held(self, worker: WorkerRow) -> int:
        return sum(s.worker == worker.id and s.status == "in_progress" for s in self.steps)

    def _claim_fields(self, worker: WorkerRow, step: Step) -> Json:
        index = worker.find_handler_index(step) if self.names_handlers else None
        return step.claim_fields() | ({} if index is None else {"handler_index": index})

    def _settle(self, worker: WorkerRow, body: dict[str, Json]) -> Answer:
        settled = [self._settle_one(worker, outcome) for outcome in body["outcomes"]]
        limit = 0 if worker.lost else body.get("max", 0)
        steps = self._take(worker, limit) if limit else []
        self._changed.notify_all()
        return 200, {"settled": settled, "steps": steps, "cancelled": [], "quiet": self.quiet}

    def _settle_one(self, worker: WorkerRow, outcome: dict[str, Json]) -> str:
        step = self._held(worker, outcome["ticket"])
        if step is None:
            return "refused"
        step.outcomes.append(outcome)
        match outcome["outcome"]:
            case "complete":
                step.status = "complete"
                self.steps.extend(step.then)
                return "complete"
            case "failed":
                again = outcome["error"]["retryable"] and step.counted_attempts < step.max_attempts
                step.status = "enqueued" if again else "error"
                return "retry" if again else "error"
            case "parked":
                self._park(step, outcome["wait_for"])
                return "parked"
            case "released" | "yielded":
                step.checkpoint = outcome.get("checkpoint", step.checkpoint)
                step.counted_attempts -= 1
                step.status = "enqueued"
                return "released"
        self.violations.append(f"unknown outcome {outcome['outcome']!r}")
        return "invalid"

    def _park(self, step: Step, wait_for: dict[str, Json]) -> None:
        step.counted_attempts -= 1
        step.waits_for = wait_for
        task = self.tasks.get(wait_for.get("task", ""))
        step.status = "enqueued" if task and task.status != "in_progress" else "waiting"
        if name := wait_for.get("call"):
            kinds = {"signal": "wait_signal", "any": "wait_any", "approval": "wait_approval"}
            kind = next((kinds[key] for key in wait_for if key in kinds), "sleep")
            step.calls[name] = {"name": name, "kind": kind, "value": None, "remaining_s": 60.0}

    def _renew(
        self, worker: WorkerRow, body: dict[str, Json], is_connected: Callable[[], bool]
    ) -> Answer | None:
        held = set(body["held"])
        begin = time.monotonic()
        deadline = time.monotonic() + min(body.get("wait_s", 0), self.settings["renew_s"])
        while is_connected() and self._gone(worker) is None:
            cancelled = [
                step.ticket
                for step in self.steps
                if step.worker == worker.id
                and step.cancelled_at
                and not self.hides_cancellations
                and (step.ticket in held or step.cancelled_at > begin)
            ]
            wait = deadline - time.monotonic()
            if cancelled or wait <= 0:
                answer = {"cancelled": cancelled, "quiet": self.quiet}
                return 200, {"lease_s": self.settings["lease_s"], **answer}
            self._changed.wait(min(wait, POLL))
        return self._gone(worker)

    def _gone(self, worker: WorkerRow) -> Answer | None:
        if worker.retired:
            return problem(404, "unknown_worker", "register again")
        return problem(409, "lease_lost", "register again") if worker.lost else None

    def _resume(self, worker: WorkerRow, body: dict[str, Json]) -> Answer:
        steps = [
            self._claim_fields(worker, step)
            for step in self.steps
            if step.status == "in_progress"
            and step.worker == worker.id
            and step.ticket not in body["held"]
        ]
        return 200, {"steps": steps, "cancelled": [], "quiet": self.quiet}

    def _of_attempt(self, name: str, step: Step, body: dict[str, Json]) -> Answer:
        match name:
            case "payload":
                return 200, step.payload()
            case "template":
                return 200, {"template_id": step.template_id, "template": step.template()}
            case "checkpoint":
                step.checkpoint = body["value"]
                if step.cancelled_at_checkpoint:
                    self.cancel(step)
                return 204, None
            case "calls":
                return 200, {"calls": list(step.calls.values())}
            case "logs":
                self._log(step, body["lines"])
                return 204, None
            case "once":
                call = {"name": body["call"], "kind": "once", "value": body["value"]}
                step.calls.setdefault(body["call"], {**call, "remaining_s": 0.0})
                return 204, None
        key = f"{step.task_id}:{step.name}:{body['call']}"
        task = next((task for task in self.tasks.values() if task.key == key), None)
        if task is None:
            task = self._new_task(key, body, body["ticket"])
        fields = ("status", "result", "error")
        return 200, {"task_id": task.id} | {field: getattr(task, field) for field in fields}

    def _log(self, step: Step, lines: list[dict[str, Json]]) -> None:
        for line in lines:
            step.logs.setdefault(line["number"], line)

    def _retire(self, worker: WorkerRow) -> Answer:
        worker.retired = True
        for step in self.steps:
            if step.worker == worker.id and step.status == "in_progress":
                step.status = "enqueued"
        self._changed.notify_all()
        return 204, None

    def _held(self, worker: WorkerRow, ticket: str) -> Step | None:
        for step in self.steps:
            if step.ticket == ticket and step.status == "in_progress":
                return step if step.worker == worker.id else None
        return None

    def _create_task(self, request: Request) -> Answer:
        key = request.headers.get("idempotency-key") or request.body.get("idempotency_key")
        for task in self.tasks.values():
            if key and task.key == key:
                return 200, self._get_task(task.id)[1]
        task = self._new_task(key, request.body, request.headers.get("tasker-ticket"))
        return 201, self._get_task(task.id)[1]

    def _new_task(self, key: str | None, body: dict[str, Json], ticket: str | None) -> Task:
        task = Task(str(uuid.uuid4()), body, ticket, key)
        self.tasks[task.id] = task
        self._changed.notify_all()
        return task

    def _get_task(self, task_id: str) -> Answer:
        task = self.tasks.get(task_id)
        if task is None:
            return problem(404, "not_found", f"no task {task_id}")
        fields = {"id": task.id, "status": task.status, "result": task.result, "error": task.error}
        names = ("name", "namespace", "version", "context")
        return 200, fields | {name: task.body.get(name) for name in names} | {"steps": []}

    # ------------------------------------------------------------------ HTTP

    def route_of(self, method: str, path: str) -> str:
        """Return the word for a route, such as register, claim, retire, create, get or signal."""
        match method, path.split("?", maxsplit=1)[0].strip("/").split("/"):
            case "POST", ["v1", "workers"]:
                return "register"
            case "DELETE", ["v1", "workers", _]:
                return "retire"
            case _, ["v1", "workers", _, name, *_]:
                return name
            case "POST", ["v1", "tasks"]:
                return "create"
            case "POST", ["v1", "tasks", _, "signals"]:
                return "signal"
            case "GET", ["v1", "tasks", *_]:
                return "get"
        return "other"

    def handle(
        self, request: Request, is_connected: Callable[[], bool]
    ) -> tuple[Fault | None, Answer | None]:
        """Record a request, and return its answer or the fault that it meets."""
        with self._changed:
            match request.path.split("/"):
                case ["", "v1", "workers", worker, "claim" | "settle"] if worker in self.workers:
                    settled = len(request.body.get("outcomes", ()))
                    request.held = self._count_held(self.workers[worker]) - settled
            self.requests.append(request)
            fault = next((f for f in self.faults if f.route == request.route), None)
            if fault:
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
            self._changed.notify_all()
        if request.route == "settle":
            time.sleep(self.settle_takes)
            with self._changed:
                self._changed.wait_for(lambda: not self.holds_settlements, WITHIN)
        answer = None
        if fault is None or fault.after or fault.kind == "half":
            answer = self.answer(request, is_connected)
        with self._changed:
            request.status = answer[0] if answer and fault is None else 0
            request.answer = answer[1] if answer else None
            request.ended = time.monotonic()
            self._changed.notify_all()
        return fault, answer

    def start(self) -> None:
        """Serve on the port that is reserved for it."""
        state = self

        class Handler(_Handler):
            server_state = state

        self._http = _HttpServer(self._port.getsockname(), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving: connections are closed, and new ones refused. The state stays."""
        self._http.shutdown()
        self._http.server_close()
        self._http.close_connections()
        self._thread.join()

    @contextmanager
    def running(self) -> Iterator["ScriptedServer"]:
        """Serve while the block runs."""
        with self._port:
            self.start()
            try:
                yield self
            finally:
                self.stop()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.connections: set[socket.socket] = set()

    def close_connections(self) -> None:
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a worker that is killed resets its connections


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer
    server_state: ScriptedServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        request = Request(
            at=time.monotonic(),
            method=self.command,
            path=self.path,
            route=self.server_state.route_of(self.command, self.path),
            body=json.loads(text) if text else None,
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        fault, answer = self.server_state.handle(request, self._is_connected)
        if fault and fault.kind == "close":
            self._reset()
        elif fault and fault.kind == "status":
            self._send(fault.status, json.dumps(fault.body).encode(), fault.headers)
        elif fault and fault.kind == "garbage":
            self._send(200, b"<html>proxy</html>", {})
        elif answer is None:
            self.close_connection = True
        else:
            value = answer[1]
            if isinstance(value, dict):
                value = value | self.server_state.extra
            body = b"" if value is None else json.dumps(value).encode()
            self._send(answer[0], body, {}, cut=fault is not None)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _is_connected(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return not readable or self.connection.recv(1, socket.MSG_PEEK) != b""
        except OSError:
            return False

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        if cut:
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass
