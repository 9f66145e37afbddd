"""Handlers in a process of their own."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Any

import pytest
from tests.handlers.attempts import attempt, plan
from tests.handlers.conftest import Write

from tasker.errors import InvalidInput, Misuse, PermanentError, RetryableError
from tasker.handlers import (
    CallPlan,
    Config,
    Context,
    Handler,
    Handlers,
    StepHandler,
    handler,
    run_handler_inside_child_process,
)
from tasker.model import JsonText

STEPS = """
    import os
    from typing import Annotated
    from siblings import factor
    from tasker import errors
    from tasker.handlers import Config, Context, StepHandler, handler

    class Awkward(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    class Stop(errors.PermanentError):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}", code="STOP", details={"n": 1})

    @handler("Heavy::Crunch", process=True)
    def crunch(cents: int, reserve: dict, fee: Annotated[int, Config("fee")], ctx: Context):
        return [os.getpid(), cents * factor, reserve, fee, ctx.step, ctx.results["skipped"]]

    @handler(process=True)
    class Heavy(StepHandler):
        def call(self, context):
            return context.idempotency_key

    @handler(process=True)
    def fail(how: str):
        if how == "awkward": raise Awkward(1, 2)
        if how == "stop": raise Stop(1, 2)
        if how == "later": raise errors.RetryableError("busy", retry_after=30, code="BUSY")
        if how == "odd": return {"lock": object()}
        if how == "large": return "x" * 1000
        raise ValueError(how)

    @handler(process=True)
    def save(ctx: Context):
        ctx.checkpoint(1)
"""


@handler(process=True)
def at_the_top(cents: int) -> int:
    return cents + 1


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def steps(write: Write) -> Handlers:
    write("siblings.py", "factor = 2")
    return Handlers.collect(write("steps.py", STEPS))


def compiled(steps: Handlers, name: str, **how: Any) -> CallPlan:
    match = steps.find_handler(name)
    assert match is not None
    return plan(match, **how)


def run(pool: ProcessPoolExecutor, plan: CallPlan, given: object = None, **how: Any) -> str:
    live = attempt(given, **how)
    assert plan.in_process
    return pool.submit(
        run_handler_inside_child_process,
        plan.pickled_plan,
        live.claim,
        live.task,
        dict(live.results),
        500,
    ).result()


def test_a_handler_from_a_file_runs_in_a_process_that_did_not_import_it(
    pool: ProcessPoolExecutor, steps: Handlers
) -> None:
    crunch = compiled(
        steps, "Heavy::Crunch", upstream=("other", "reserve", "skipped"), config={"fee": 3}
    )
    here = crunch.call(attempt({"cents": 5}, {2: {"a": 1}}))
    there = run(pool, crunch, {"cents": 5}, results={2: {"a": 1}})
    assert [10, {"a": 1}, 3, "charge", None] == here[1:]
    assert there.endswith(',10,{"a":1},3,"charge",null]')
    assert not there.startswith(f"[{here[0]},")


def test_classes_and_functions_of_importable_modules_run_in_a_process_too(
    pool: ProcessPoolExecutor, steps: Handlers
) -> None:
    assert '"01890a5d-ac96-774b-bcce-b302099a8057:charge"' == run(pool, compiled(steps, "Heavy"))
    assert "6" == run(pool, plan(at_the_top), {"cents": 5})


@pytest.mark.parametrize(
    ("how", "kind", "message", "code"),
    [
        ("awkward", RetryableError, "Awkward: 1 and 2", None),
        ("stop", PermanentError, "1 and 2", "STOP"),
        ("later", RetryableError, "busy", "BUSY"),
        ("plain", ValueError, "plain", None),
        ("odd", InvalidInput, r"the result is not valid JSON at \$\.lock", "invalid_input"),
        ("large", PermanentError, "the result is 1,002 bytes; the limit is 500", "too_large"),
    ],
)
def test_errors_of_any_class_are_returned_from_a_process(
    pool: ProcessPoolExecutor,
    steps: Handlers,
    how: str,
    kind: type[Exception],
    message: str,
    code: str | None,
) -> None:
    with pytest.raises(kind, match=message) as caught:
        run(pool, compiled(steps, "fail"), {"how": how})
    assert code == getattr(caught.value, "code", None)


def test_a_parameter_that_cannot_be_bound_is_reported_as_in_a_thread(
    pool: ProcessPoolExecutor, steps: Handlers
) -> None:
    with pytest.raises(PermanentError, match="the task's input has no 'how'") as caught:
        run(pool, compiled(steps, "fail"))
    assert "MISSING_INPUT" == caught.value.code


def test_a_handler_in_a_process_has_no_worker(pool: ProcessPoolExecutor, steps: Handlers) -> None:
    with pytest.raises(Misuse, match="cannot save checkpoints"):
        run(pool, compiled(steps, "save"))


def test_a_handler_that_another_process_cannot_find_is_refused() -> None:
    @handler(process=True)
    def local() -> None: ...

    class Local(StepHandler):
        def call(self, context: Context) -> None: ...

    for target in (local, handler(process=True)(Local)):
        with pytest.raises(Misuse, match="define it at the top level of a module"):
            _ = plan(target).pickled_plan


def test_an_async_handler_cannot_run_in_a_process() -> None:
    @handler(process=True)
    class Async(StepHandler):
        async def call(self, context: Context) -> None: ...

    with pytest.raises(Misuse, match="is async; process=True is only for synchronous functions"):
        plan(Async)


def test_a_packed_plan_holds_only_the_steps_it_needs() -> None:
    def two(a: int, fee: Annotated[int, Config("fee")] = 1) -> Any: ...

    many = tuple(f"step_{no}" for no in range(2000))
    match = Handler("at_the_top", at_the_top)
    assert len(plan(match, upstream=many).pickled_plan) < 1000


def test_a_process_answers_with_json_text(pool: ProcessPoolExecutor) -> None:
    assert JsonText("6") == run(pool, plan(at_the_top), {"cents": "5"})
