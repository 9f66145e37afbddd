"""Handlers with four phases, and errors that handlers return."""

from typing import Any

import pytest

from tasker import (
    AsyncContext,
    FourPhaseHandler,
    PermanentError,
    Retry,
    RetryableError,
    StepHandler,
    SyncContext,
    SyncFourPhaseHandler,
    Template,
    handler,
)
from tasker.model import AttemptOutcome, StepSpec
from tasker.testing import WorkflowRun, run_step, run_workflow

RETRY = Retry(max_attempts=4, jitter=0)
PAY = Template(
    namespace="shop",
    name="order",
    version="1.0.0",
    steps=(StepSpec(name="pay", retry=RETRY),),
)


class Troubles:
    """Exceptions that the phases raise, the first first, and what the phases did."""

    def __init__(self, **raised: list[Exception]) -> None:
        self.raised = raised
        self.done: list[str] = []

    def enter(self, phase: str) -> None:
        self.done.append(phase)
        if errors := self.raised.get(phase):
            raise errors.pop(0)


def async_handler(troubles: Troubles) -> type[StepHandler]:
    class Pay(FourPhaseHandler):
        async def extract(self, context: AsyncContext) -> int:
            troubles.enter("extract")
            return int(context.get_input("cents"))

        async def execute(self, context: AsyncContext, request: int) -> dict[str, Any]:
            troubles.enter("execute")
            return {"charged": request, "key": context.idempotency_key}

        def check(self, context: AsyncContext, response: dict[str, Any]) -> dict[str, Any]:
            troubles.enter("check")
            return response

        def record(self, context: AsyncContext, outcome: dict[str, Any]) -> int:
            troubles.enter("record")
            return int(outcome["charged"])

    return Pay


def sync_handler(troubles: Troubles) -> type[StepHandler]:
    class Pay(SyncFourPhaseHandler):
        def extract(self, context: SyncContext) -> int:
            troubles.enter("extract")
            return int(context.get_input("cents"))

        def execute(self, context: SyncContext, request: int) -> dict[str, Any]:
            troubles.enter("execute")
            return {"charged": request, "key": context.idempotency_key}

        def check(self, context: SyncContext, response: dict[str, Any]) -> dict[str, Any]:
            troubles.enter("check")
            return response

        def record(self, context: SyncContext, outcome: dict[str, Any]) -> int:
            troubles.enter("record")
            return int(outcome["charged"])

    return Pay


async def run(target: type[StepHandler], context: dict[str, Any] | None = None) -> WorkflowRun[Any]:
    return await run_workflow(PAY, context or {"cents": 500}, handlers={"pay": target})


BOTH = pytest.mark.parametrize("make", [async_handler, sync_handler])


@BOTH
@pytest.mark.anyio
async def test_a_failure_of_the_last_phase_does_not_repeat_the_call(make: Any) -> None:
    """Nor does anything before it run again."""
    troubles = Troubles(record=[ValueError("odd answer"), KeyError("id")])
    result = await run(make(troubles))

    assert 500 == result.result
    assert ["extract", "execute", "check", "record", "record", "record"] == troubles.done
    assert 3 == result.steps["pay"].attempts


@BOTH
@pytest.mark.anyio
async def test_a_failed_call_and_a_retryable_response_repeat_the_call(make: Any) -> None:
    troubles = Troubles(
        execute=[ConnectionError("reset")], check=[RetryableError("busy", code="BUSY")]
    )
    result = await run(make(troubles))

    assert 500 == result.result
    assert [
        *("extract", "execute"),
        *("extract", "execute", "check"),
        *("extract", "execute", "check", "record"),
    ] == troubles.done


@BOTH
@pytest.mark.anyio
async def test_errors_of_the_first_phase_are_permanent(make: Any) -> None:
    """Unless it says otherwise."""
    troubles = Troubles()
    result = await run(make(troubles), {"cents": "many"})

    assert ["extract"] == troubles.done
    assert result.task.failure is not None
    assert "EXTRACT_FAILED" == result.task.failure.code
    assert result.task.failure.message.startswith("ValueError: invalid literal for int()")

    troubles = Troubles(extract=[RetryableError("not there yet")])
    assert (await run(make(troubles))).ok


@BOTH
@pytest.mark.anyio
async def test_a_permanent_response_fails_the_step(make: Any) -> None:
    troubles = Troubles(check=[PermanentError("declined", code="DECLINED")])
    result = await run(make(troubles))

    assert ["extract", "execute", "check"] == troubles.done
    assert 1 == result.steps["pay"].attempts


@pytest.mark.anyio
async def test_the_last_two_phases_are_optional() -> None:
    class Pay(FourPhaseHandler):
        def extract(self, context: AsyncContext) -> Any:
            return context.get_input("cents")

        def execute(self, context: AsyncContext, request: Any) -> Any:
            return {"charged": request}

    assert {"charged": 500} == (await run(Pay)).result


class Older(StepHandler):
    def call(self, context: SyncContext) -> Any:
        match context.get_input("end"):
            case "success":
                return self.success({"id": 7}, metadata={"took": 3})
            case "busy":
                return self.failure("busy", error_type="rate_limited", metadata={"status": 429})
            case "typed":
                return self.failure("wrong", "permanent_error", False)
            case _:
                return self.failure("wrong", retryable=False, error_code="MISSING_FIELDS")


@pytest.mark.parametrize(
    ("end", "outcome", "code", "details"),
    [
        ("busy", AttemptOutcome.RETRY, "rate_limited", {"status": 429}),
        ("typed", AttemptOutcome.ERROR, "permanent_error", None),
        ("coded", AttemptOutcome.ERROR, "MISSING_FIELDS", None),
    ],
)
def test_an_error_may_be_returned(
    end: str, outcome: AttemptOutcome, code: str, details: object
) -> None:
    result = run_step(Older, input={"end": end})

    assert isinstance(result.error, PermanentError | RetryableError)
    assert (outcome, code, details) == (result.outcome, result.error.code, result.error.details)


def test_a_success_may_be_wrapped() -> None:
    assert {"id": 7} == run_step(Older, input={"end": "success"}).value


@handler(process=True)
def declines() -> Any:
    return PermanentError("declined", code="DECLINED")


@pytest.mark.anyio
@pytest.mark.parametrize("process", [False, True])
async def test_a_worker_treats_a_returned_error_as_raised(process: bool) -> None:
    target: Any = declines if process else (lambda: PermanentError("declined", code="DECLINED"))
    result = await run_workflow(PAY, {}, handlers={"pay": target})

    assert result.task.failure is not None
    assert ("DECLINED", "PermanentError") == (
        result.task.failure.code,
        result.task.failure.type,
    )
