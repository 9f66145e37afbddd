"""Attempts without an engine."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any

from tasker.clock import ManualClock
from tasker.durable import DurableCall, NewDurableCall
from tasker.handlers import CallPlan, Handler, LiveAttempt, UpstreamSteps, compile_call_plan
from tasker.handlers.instances import JoinedStep, Page
from tasker.model import (
    Claim,
    JsonText,
    NewInstances,
    Retry,
    SpawnedStepNumbers,
    StepSpec,
    TaskId,
    TaskInput,
    TemplateId,
    TemplateName,
)
from tasker.waits import NewWait

TASK = TaskId("01890a5d-ac96-774b-bcce-b302099a8057")
TEMPLATE = TemplateName("payments", "checkout", "2.1.0")


class FakeServices:
    """Services that remember what they were asked for."""

    def __init__(self) -> None:
        self.saved: list[JsonText] = []
        self.fails: Exception | None = None

    clock = ManualClock()

    def client(self, attempt: LiveAttempt) -> Any:
        return "client", attempt.claim.task_id

    def sync_client(self, attempt: LiveAttempt) -> Any:
        return "sync client", attempt.claim.task_id

    def append_log(
        self,
        attempt: LiveAttempt,
        level: int,
        source: str,
        message: str,
        fields: Mapping[str, Any],
    ) -> None:
        """Keep nothing."""

    def append_printed_text(self, attempt: LiveAttempt, stream: str, text: str) -> None:
        """Keep nothing."""

    def save_checkpoint(self, attempt: LiveAttempt, value: JsonText) -> "Future[None]":
        saving: Future[None] = Future()
        if self.fails:
            saving.set_exception(self.fails)
        else:
            self.saved.append(value)
            saving.set_result(None)
        return saving

    async def load_durable_calls(self, attempt: LiveAttempt) -> list[DurableCall]:
        return []

    async def record_durable_call(self, call: NewDurableCall) -> float:
        return 0.0

    async def create_completion_url_unless_completed(self, attempt: LiveAttempt) -> Any:
        return None

    async def receive_arrival(self, attempt: LiveAttempt, wait: NewWait) -> DurableCall | None:
        return None

    async def spawn_instances(self, attempt: LiveAttempt, new: NewInstances) -> SpawnedStepNumbers:
        return SpawnedStepNumbers(0, 0, new.instances)

    async def read_instance_results(
        self, attempt: LiveAttempt, joined: JoinedStep
    ) -> AsyncIterator[Page]:
        none: list[Page] = []
        for page in none:
            yield page

    def run_coroutine_blocking(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


def plan(
    target: Any,
    *,
    upstream: tuple[str, ...] = (),
    config: Mapping[str, Any] | None = None,
    method: str | None = None,
    retry: Retry | None = None,
) -> CallPlan:
    """Compile `target` for a step `charge` that comes after `upstream`."""
    spec = StepSpec(name="charge", config=config or {}, method=method, retry=retry or Retry())
    handler = target if isinstance(target, Handler) else Handler("charge", target)
    return compile_call_plan(
        handler, spec, upstream=UpstreamSteps.from_names(*upstream), template=TEMPLATE
    )


def attempt(
    given: object = None,
    results: Mapping[int, Any] | None = None,
    *,
    number: int = 1,
    counted_attempts: int = 1,
    checkpoint: object = None,
    services: FakeServices | None = None,
) -> LiveAttempt:
    """Make an attempt of step 9; `results` are by step number, and become text."""
    saved = None if checkpoint is None else JsonText(json.dumps(checkpoint))
    return LiveAttempt(
        Claim(TASK, 9, number, counted_attempts, saved),
        TaskInput(
            TASK, TemplateId(1), JsonText(json.dumps(given or {})), "corr-1", TaskId("parent"), None
        ),
        {no: JsonText(json.dumps(value)) for no, value in (results or {}).items()},
        services or FakeServices(),
    )


def call(
    target: Callable[..., Any] | Handler,
    given: object = None,
    *,
    results: Mapping[str, Any] | None = None,
    upstream: tuple[str, ...] = (),
    config: Mapping[str, Any] | None = None,
    method: str | None = None,
) -> Any:
    """Call `target` as the handler of a step that comes after `upstream` and what has `results`."""
    results = results or {}
    names = (*results, *(name for name in upstream if name not in results))
    compiled = plan(target, upstream=names, config=config, method=method)
    value = compiled.call(
        attempt(given, {no: results[name] for no, name in enumerate(results, start=1)})
    )
    return asyncio.run(value) if compiled.is_async else value
