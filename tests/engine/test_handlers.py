"""Handlers of every kind, and what their ends lead to."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.engine import computing
from tests.engine.factories import SOON, step, template
from tests.waiting import eventually

from tasker import (
    AsyncContext,
    Context,
    JsonSchemaMismatchAction,
    PermanentError,
    Retry,
    RetryableError,
    StepStatus,
    SyncContext,
    Task,
    TaskStatus,
    Worker,
    WorkerSettings,
)
from tasker.errors import TaskFailed
from tasker.model import Attempt, AttemptOutcome, Backoff, JsonObject, Step
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


async def run(
    store: Store,
    handler: Callable[..., Any],
    *,
    settings: WorkerSettings | None = None,
    **options: Any,
) -> tuple[Task, Step, list[Attempt]]:
    """Run a task of one step, whose options these are: return it, its step, its attempts."""
    flow = template("flow", step("only", **options))
    async with Worker(store, [{"only": handler}], templates=[flow], settings=settings) as worker:
        try:
            task = await worker.client.run("n.flow", {"amount": 7}, timeout=SOON)
        except TaskFailed as failed:
            task = failed.task
        [only] = await worker.client.steps(task.id)
        return task, only, await worker.client.attempts(task.id)


def message(of: Step | Attempt) -> str:
    assert of.error is not None
    return str(of.error["message"])


# ------------------------------------------------------------------------------ kinds


async def test_an_async_handler_runs_in_the_event_loop(store: Store) -> None:
    async def only(amount: int) -> object:
        return {"amount": amount, "here": asyncio.get_running_loop() is loop}

    loop = asyncio.get_running_loop()
    task, ended, _ = await run(store, only)

    assert TaskStatus.COMPLETE == task.status
    assert {"amount": 7, "here": True} == ended.result


async def test_a_sync_handler_runs_in_a_thread(store: Store) -> None:
    def only(amount: int) -> object:
        return {"amount": amount, "here": threading.get_ident() == here}

    here = threading.get_ident()
    task, ended, _ = await run(store, only)

    assert TaskStatus.COMPLETE == task.status
    assert {"amount": 7, "here": False} == ended.result


async def test_a_cpu_bound_handler_runs_in_a_process(store: Store) -> None:
    """It gets earlier results, and its exceptions have the usual effects."""
    flow = template(
        "compute", step("give"), step("where", "give"), step("fail_once", "where"), step("fail")
    )
    async with Worker(
        store,
        [computing, {"give": lambda: 20}],
        templates=[flow],
        settings=WorkerSettings(processes=1),
    ) as worker:
        task = await worker.client.create_task("n.compute", {"amount": 1})
        with pytest.raises(TaskFailed):
            await worker.client.wait(task.id, timeout=SOON)
        steps = {step.name: step for step in await worker.client.steps(task.id)}

    assert {"total": 21, "elsewhere": True} == steps["where"].result
    assert (2, "second") == (steps["fail_once"].attempts, steps["fail_once"].result)
    assert (1, "NO_GOOD") == (steps["fail"].attempts, (steps["fail"].error or {})["code"])


async def test_a_process_that_dies_is_a_failed_attempt(store: Store) -> None:
    flow = template("compute", step("die"), step("where"))
    async with Worker(
        store,
        [computing, {"give": lambda: 20}],
        templates=[flow],
        settings=WorkerSettings(processes=1),
    ) as worker:
        task = await worker.client.create_task("n.compute", {"amount": 1, "give": 1})
        with pytest.raises(TaskFailed):
            await worker.client.wait(task.id, timeout=SOON)
        die, where = await worker.client.steps(task.id)

    assert (StepStatus.ERROR, 3) == (die.status, die.attempts)
    assert StepStatus.COMPLETE == where.status


async def test_any_exception_in_a_process_fails_only_its_attempt(memory: Store) -> None:
    names = ("leave", "interrupt", "raise_what_cannot_travel")
    flow = template("compute", *(step(name, retry=Retry(retryable=False)) for name in names))
    async with Worker(
        memory,
        [computing, {"give": lambda: 20}],
        templates=[flow, template("after", step("give"), step("where", "give"))],
        settings=WorkerSettings(processes=1),
    ) as worker:
        task = await worker.client.create_task("n.compute")
        with pytest.raises(TaskFailed):
            await worker.client.wait(task.id, timeout=SOON)
        errors = [step.error or {} for step in await worker.client.steps(task.id)]
        after = await worker.client.run("n.after", {"amount": 1}, timeout=SOON)

    assert [
        ("SystemExit", "enough"),
        ("KeyboardInterrupt", ""),
        ("RetryableError", "Local: far"),
    ] == [(error["type"], error["message"]) for error in errors]
    assert TaskStatus.COMPLETE == after.status


async def test_slots_bound_concurrent_attempts(store: Store) -> None:
    """Steps come from claims, from settlements and from tasks created by this worker."""
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1

    many = [step(f"many_{n}", "first", callable="work") for n in range(40)]
    last = step("last", *(spec.name for spec in many), callable="work")
    fan = template("fan", step("first", callable="work"), *many, last)
    async with Worker(
        store, [{"work": work}], templates=[fan], settings=WorkerSettings(slots=7)
    ) as worker:
        tasks = await asyncio.gather(*(worker.client.create_task("n.fan") for _ in range(12)))
        for task in tasks:
            await worker.client.wait(task.id, timeout=SOON)

    assert 7 == most


async def test_slots_bound_threads_too(memory: Store) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.001)
        with lock:
            running -= 1

    many = [step(f"many_{n}", "first", callable="work") for n in range(30)]
    fan = template("fan", step("first", callable="work"), *many)
    async with Worker(
        memory, [{"work": work}], templates=[fan], settings=WorkerSettings(slots=3)
    ) as worker:
        for task in [await worker.client.create_task("n.fan") for _ in range(4)]:
            await worker.client.wait(task.id, timeout=SOON)

    assert 3 == most


# ------------------------------------------------------------------------------- ends


async def test_any_exception_gets_another_attempt(store: Store) -> None:
    def only(context: Context) -> str:
        if context.attempt == 1:
            raise ZeroDivisionError("the first time")
        return "done"

    task, ended, history = await run(store, only)

    assert TaskStatus.COMPLETE == task.status
    assert (2, "done", None) == (ended.attempts, ended.result, ended.error)
    assert [AttemptOutcome.RETRY, AttemptOutcome.COMPLETE] == [row.outcome for row in history]
    assert history[0].error is not None
    assert ("ZeroDivisionError", "the first time") == (
        history[0].error["type"],
        history[0].error["message"],
    )
    _, first, *_ = str(history[0].error["trace"]).splitlines()
    assert first.endswith("in only"), "the engine's own frames are left out"


@pytest.mark.parametrize("most", [1, 2, 4])
async def test_max_attempts_counts_all_attempts(store: Store, most: int) -> None:
    def only() -> None:
        raise ValueError("never")

    retry = Retry(max_attempts=most, backoff=Backoff.NONE)
    task, ended, history = await run(store, only, retry=retry)

    assert TaskStatus.ERROR == task.status
    assert (StepStatus.ERROR, most) == (ended.status, ended.attempts)
    assert list(range(1, most + 1)) == [row.attempt for row in history]
    assert AttemptOutcome.ERROR == history[-1].outcome


async def test_a_step_that_is_not_retryable_runs_once(store: Store) -> None:
    """
    Even where the handler asks for another attempt: the first failure is final.
    """

    def only() -> None:
        raise RetryableError("please")

    retry = Retry(retryable=False, max_attempts=5, backoff=Backoff.NONE)
    task, ended, _ = await run(store, only, retry=retry)

    assert TaskStatus.ERROR == task.status
    assert (StepStatus.ERROR, 1) == (ended.status, ended.attempts)


async def test_a_permanent_error_is_final(store: Store) -> None:
    def only() -> None:
        raise PermanentError("no such order", code="NO_ORDER", details={"order": 7})

    task, ended, _ = await run(store, only)

    assert TaskStatus.ERROR == task.status
    assert {
        "type": "PermanentError",
        "message": "no such order",
        "retryable": False,
        "code": "NO_ORDER",
        "details": {"order": 7},
    } == ended.error
    assert {"message": "step 'only' failed: no such order", "steps": ["only"]} == task.error


async def test_the_retry_delay_that_a_handler_requests_is_honoured(store: Store) -> None:
    """The retry starts neither earlier nor a poll later."""

    def only(context: Context) -> None:
        if context.attempt == 1:
            raise RetryableError("busy", retry_after=0.3)

    settings = WorkerSettings(poll=timedelta(seconds=30))
    _, _, history = await run(store, only, settings=settings)
    first, second = history

    assert second.claimed_at is not None
    assert timedelta(seconds=0.3) <= second.claimed_at - first.settled_at < timedelta(seconds=15)
    assert first.error is not None
    assert 0.3 == first.error["retry_after_s"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyError, BaseException("odd")])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_any_exception_of_a_handler_fails_only_its_attempt(
    memory: Store, kind: str, error: BaseException
) -> None:
    def only() -> None:
        raise error

    async def only_async() -> None:
        raise error

    task, ended, _ = await run(memory, only if kind == "sync" else only_async)

    assert TaskStatus.ERROR == task.status
    assert (StepStatus.ERROR, 3) == (ended.status, ended.attempts)


async def test_a_handler_that_cancels_itself_fails(memory: Store) -> None:
    async def only() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel("enough")
        await asyncio.sleep(0)

    task, ended, _ = await run(memory, only)

    assert TaskStatus.ERROR == task.status
    assert (3, "the handler was cancelled by its own code: enough") == (
        ended.attempts,
        message(ended),
    )


@pytest.mark.parametrize("trouble", [RuntimeError("no"), SystemExit(3)])
async def test_an_error_that_cannot_be_encoded_still_fails_its_attempt(
    memory: Store, trouble: BaseException
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise trouble

    def only() -> None:
        raise Mute

    _, ended, _ = await run(memory, only)

    assert StepStatus.ERROR == ended.status
    assert (3, "Mute") == (ended.attempts, (ended.error or {})["type"])


async def test_an_invalid_retry_after_is_an_error_that_is_retried(memory: Store) -> None:
    def only(context: Context) -> str:
        if context.attempt == 1:
            raise RetryableError("busy", retry_after="soon")
        return "done"

    _, ended, history = await run(memory, only)

    assert (2, "done") == (ended.attempts, ended.result)
    message = str((history[0].error or {})["message"])
    assert "retry_after must be a number of seconds" in message
    assert "busy" in message


# ---------------------------------------------------------------------------- results


async def test_a_result_that_is_not_json_fails_permanently_with_its_path(store: Store) -> None:
    def only() -> object:
        return {"rows": [1, {"when": object()}]}

    task, ended, _ = await run(store, only)

    assert TaskStatus.ERROR == task.status
    assert (StepStatus.ERROR, 1) == (ended.status, ended.attempts)
    assert (
        "the result is not valid JSON at $.rows[1].when: type object cannot be represented as JSON"
        == message(ended)
    )


@pytest.mark.parametrize("value", [float("nan"), "a\0b", {"a\0": 1}, "\ud800", 1 << 70])
async def test_values_that_cannot_be_stored_are_refused(store: Store, value: object) -> None:
    _, ended, _ = await run(store, lambda: {"value": value})

    assert (StepStatus.ERROR, 1) == (ended.status, ended.attempts)
    assert message(ended).startswith("the result is not valid JSON at $")


@pytest.mark.parametrize("trouble", [RuntimeError("not today"), SystemExit(3)])
async def test_a_result_whose_encoding_raises_fails_its_attempt(
    memory: Store, trouble: BaseException
) -> None:
    class Odd(dict[str, Any]):
        def items(self) -> Any:
            raise trouble

    _, ended, _ = await run(memory, lambda: Odd(bad=object()))

    assert StepStatus.ERROR == ended.status


async def test_an_oversized_result_is_refused_and_not_truncated(store: Store) -> None:
    settings = WorkerSettings(result_limit=1000)
    _, ended, _ = await run(store, lambda: "x" * 1000, settings=settings)

    assert (StepStatus.ERROR, 1, None) == (ended.status, ended.attempts, ended.result)
    assert "the result is 1,002 bytes; the limit is 1,000" == message(ended)


SCHEMA: JsonObject = {"type": "object", "required": ["id"]}


async def test_results_that_do_not_match_can_be_an_error(memory: Store) -> None:
    settings = WorkerSettings(results=JsonSchemaMismatchAction.ENFORCE)
    _, ended, _ = await run(memory, lambda: {}, settings=settings, result_schema=SCHEMA)

    assert (StepStatus.ERROR, 1) == (ended.status, ended.attempts)
    assert message(ended).startswith("the result does not match the step's result_schema: ")
    assert "id" in message(ended)


@pytest.mark.parametrize(
    ("mode", "warned"),
    [(JsonSchemaMismatchAction.WARN, True), (JsonSchemaMismatchAction.OFF, False)],
)
async def test_results_that_do_not_match_can_be_a_warning(
    memory: Store, caplog: pytest.LogCaptureFixture, mode: JsonSchemaMismatchAction, warned: bool
) -> None:
    settings = WorkerSettings(results=mode)
    task, ended, _ = await run(memory, lambda: {}, settings=settings, result_schema=SCHEMA)

    assert TaskStatus.COMPLETE == task.status
    assert warned == ("result_schema_mismatch" in caplog.messages)
    assert {} == ended.result


async def test_results_that_do_not_match_are_a_warning_by_default(memory: Store) -> None:
    task, _, _ = await run(memory, lambda: {}, result_schema=SCHEMA)

    assert TaskStatus.COMPLETE == task.status


# --------------------------------------------------------------------------- progress


async def test_an_attempt_continues_from_the_checkpoint_of_the_previous_one(store: Store) -> None:
    async def only(context: AsyncContext) -> list[object]:
        done = context.last_checkpoint or []
        if context.is_retry:
            return [*done, "after"]
        await context.checkpoint([*done, "before"])
        raise ConnectionError("gone")

    _, ended, _ = await run(store, only)

    assert ["before", "after"] == ended.result
    assert ["before"] == ended.checkpoint


async def test_a_checkpoint_from_a_thread_is_stored_when_the_call_returns(store: Store) -> None:
    seen: list[object] = []

    def only(context: SyncContext) -> None:
        context.checkpoint({"row": 10})
        reached.set()
        go_on.wait()

    reached, go_on = threading.Event(), threading.Event()
    flow = template("flow", step("only"))
    async with Worker(store, [{"only": only}], templates=[flow]) as worker:
        task = await worker.client.create_task("n.flow")
        await eventually(reached.is_set)
        seen += [step.checkpoint for step in await worker.client.steps(task.id)]
        go_on.set()
        await worker.client.wait(task.id, timeout=SOON)

    assert [{"row": 10}] == seen


async def test_retries_without_backoff_follow_immediately(memory: Store) -> None:
    """
    A worker knows when its own failed steps are due; it does not wait for the next poll.
    """

    def only() -> None:
        raise ValueError("never")

    settings = WorkerSettings(poll=timedelta(seconds=30))
    retry = Retry(max_attempts=20, backoff=Backoff.NONE)
    task, _, history = await run(memory, only, settings=settings, retry=retry)

    assert 20 == len(history)
    assert task.ended_at is not None
    assert task.ended_at - task.created_at < timedelta(seconds=5)
