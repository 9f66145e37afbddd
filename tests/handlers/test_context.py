import logging
import threading
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.handlers.attempts import TASK, TEMPLATE, FakeServices, attempt, call, plan

from tasker.errors import AttemptCancelled, InvalidInput, Misuse, PermanentError
from tasker.graph import Graph
from tasker.handlers import AsyncContext, Context, LiveAttempt, SyncContext, UpstreamSteps
from tasker.model import Retry, StepSpec, TaskId, Template


def sync_handler(ctx: SyncContext) -> SyncContext:
    return ctx


async def async_handler(ctx: AsyncContext) -> AsyncContext:
    return ctx


def context(live: LiveAttempt | None = None, **how: Any) -> SyncContext:
    """Make the context of a sync handler."""
    made: SyncContext = plan(sync_handler, **how).call(live or attempt())
    return made


async def async_context(live: LiveAttempt | None = None) -> AsyncContext:
    """Make the context of an async handler."""
    made: AsyncContext = await plan(async_handler).call(live or attempt())
    return made


# ---------------------------------------------------------------------------- facts


def test_a_step_context_identifies_its_attempt() -> None:
    ctx = context(attempt(number=4, counted_attempts=2), retry=Retry(max_attempts=3))
    assert (TASK, "charge", TEMPLATE, "payments") == (
        ctx.task_id,
        ctx.step,
        ctx.template,
        ctx.namespace,
    )
    assert (4, 2, 3, True, False) == (
        ctx.attempt,
        ctx.counted_attempts,
        ctx.max_attempts,
        ctx.is_retry,
        ctx.is_last_attempt,
    )
    assert ("corr-1", TaskId("parent")) == (ctx.correlation_id, ctx.parent_id)
    assert f"<Context payments.checkout@2.1.0 charge, attempt 4 of {TASK}>" == repr(ctx)


@pytest.mark.parametrize(
    ("counted_attempts", "retry", "last"),
    [
        (1, Retry(max_attempts=3), False),
        (3, Retry(max_attempts=3), True),
        (4, Retry(max_attempts=3), True),
        (1, Retry(max_attempts=3, retryable=False), True),
        (1, Retry(max_attempts=1), True),
    ],
)
def test_the_last_attempt_is_the_one_whose_failure_is_final(
    counted_attempts: int, retry: Retry, last: bool
) -> None:
    assert last is context(attempt(counted_attempts=counted_attempts), retry=retry).is_last_attempt


def test_the_idempotency_key_is_the_same_in_every_attempt() -> None:
    keys = {context(attempt(number=number)).idempotency_key for number in (1, 2, 9)}
    assert {f"{TASK}:charge"} == keys


# ---------------------------------------------------------------------- what is given


def test_inputs_are_read_as_in_the_founding_documents() -> None:
    ctx = context(attempt({"a": 0, "b": None}))
    assert (0, None, None) == (ctx.get_input("a"), ctx.get_input("b"), ctx.get_input("c"))
    assert (0, "default", {}) == (
        ctx.get_input_or("a", 1),
        ctx.get_input_or("b", "default"),
        ctx.get_input_or("c", {}),
    )
    assert {"a": 0, "b": None} == ctx.input


def test_configuration_is_read_as_in_the_founding_documents() -> None:
    ctx = context(config={"url": "http://x"})
    assert ("http://x", None) == (ctx.get_config("url"), ctx.get_config("port"))
    assert {"url": "http://x"} == ctx.config


def test_an_attempt_that_changes_its_input_does_not_affect_others() -> None:
    compiled, live = plan(sync_handler, config={"list": [1]}), attempt({"list": [1]})
    spoiled = compiled.call(live)
    spoiled.input["list"].append(2)
    spoiled.config["list"].append(2)
    clean = compiled.call(live)
    assert ([1], [1]) == (clean.input["list"], clean.config["list"])


def test_results_of_all_ancestors_can_be_read() -> None:
    ctx = context(
        attempt(results={1: {"id": {"x": 7}}, 3: None}), upstream=("reserve", "skipped", "nothing")
    )
    assert {"reserve": {"id": {"x": 7}}, "skipped": None, "nothing": None} == dict(ctx.results)
    assert 3 == len(ctx.results)
    assert {"id": {"x": 7}} == ctx.get_dependency_result("reserve")
    assert ctx.get_dependency_result("skipped") is None
    assert 7 == ctx.get_dependency_field("reserve", "id", "x")
    assert ctx.get_dependency_field("reserve", "id", "y", "z") is None
    assert ctx.get_dependency_field("skipped", "id") is None
    assert {"id": {"x": 7}} == ctx.get_dependency_field("reserve")


def test_reading_a_step_that_is_no_ancestor_is_a_permanent_error() -> None:
    ctx = context(upstream=("reserve", "pick"))
    with pytest.raises(PermanentError) as caught:
        ctx.get_dependency_result("resrve")
    assert "NOT_UPSTREAM" == caught.value.code
    assert (
        "step 'resrve' is not an ancestor of step 'charge', whose ancestors are: reserve, pick"
    ) == str(caught.value)
    with pytest.raises(PermanentError):
        ctx.results["resrve"]


def test_missing_results_can_be_read_without_an_error() -> None:
    ctx = context(upstream=("reserve",))
    assert "reserve" in ctx.results
    assert "resrve" not in ctx.results
    assert ("none", None) == (ctx.results.get("resrve", "none"), ctx.results.get("reserve"))


# ---------------------------------------------------------------------------- upstream


@given(st.integers(1, 12).flatmap(lambda n: st.sets(st.tuples(*[st.integers(1, n)] * 2))))
def test_upstream_contains_exactly_the_ancestors(edges: set[tuple[int, ...]]) -> None:
    size = max((max(edge) for edge in edges), default=1)
    template = Template(
        namespace="n",
        name="t",
        version="1.0.0",
        steps=tuple(
            StepSpec(
                name=f"s{no}",
                dependencies=tuple(f"s{parent}" for parent, child in edges if parent < child == no),
            )
            for no in range(1, size + 1)
        ),
    )
    graph = Graph(template)
    for no, name in enumerate(graph.names, start=1):
        upstream = UpstreamSteps.for_step(graph, no)
        assert graph.ancestor_names(name) == tuple(upstream)
        assert {each: graph.numbers[each] for each in upstream} == dict(upstream)
        assert len(list(upstream)) == len(upstream)
        assert name not in upstream


def test_upstream_can_be_built_from_numbers_with_gaps() -> None:
    upstream = UpstreamSteps.from_numbers({"b": 5, "a": 2})
    assert {"a": 2, "b": 5} == dict(upstream)
    assert 0b100100 == upstream.ancestor_bitmask
    assert {} == dict(UpstreamSteps.from_names())


# --------------------------------------------------------------------- stopping, saving


def test_a_heartbeat_stops_an_attempt_that_was_cancelled() -> None:
    live = attempt()
    ctx = context(live)
    ctx.heartbeat()
    before = ctx.cancelled

    live.cancelled = "timed out after 30 s"
    assert (False, True) == (before, ctx.cancelled)
    with pytest.raises(AttemptCancelled, match="must stop: timed out after 30 s"):
        ctx.heartbeat()


def test_the_last_checkpoint_of_an_earlier_attempt_is_read() -> None:
    assert {"row": 7} == context(attempt(checkpoint={"row": 7})).last_checkpoint
    assert context().last_checkpoint is None


def test_a_checkpoint_of_a_sync_handler_returns_when_it_is_stored() -> None:
    services = FakeServices()
    ctx = context(attempt(services=services))
    ctx.checkpoint({"row": 1})
    assert ['{"row":1}'] == services.saved
    assert {"row": 1} == ctx.last_checkpoint


@pytest.mark.anyio
async def test_a_checkpoint_of_an_async_handler_is_awaited() -> None:
    services = FakeServices()
    ctx = await async_context(attempt(services=services))
    await ctx.checkpoint([1])
    assert ["[1]"] == services.saved
    assert [1] == ctx.last_checkpoint


@pytest.mark.anyio
async def test_a_checkpoint_that_fails_raises_where_it_is_awaited() -> None:
    services = FakeServices()
    services.fails = AttemptCancelled("lease lost")
    with pytest.raises(AttemptCancelled, match="lease lost"):
        await (await async_context(attempt(services=services))).checkpoint(1)


def test_a_checkpoint_that_fails_raises_in_a_thread() -> None:
    services = FakeServices()
    services.fails = AttemptCancelled("lease lost")
    with pytest.raises(AttemptCancelled, match="lease lost"):
        context(attempt(services=services)).checkpoint(1)


def test_a_cancelled_attempt_and_a_value_that_is_not_json_save_nothing() -> None:
    services = FakeServices()
    live = attempt(services=services, checkpoint="before")
    with pytest.raises(InvalidInput, match=r"checkpoint is not valid JSON at \$\.lock"):
        context(live).checkpoint({"lock": threading.Lock()})
    live.cancelled = "task cancelled"
    with pytest.raises(AttemptCancelled):
        context(live).checkpoint(1)
    assert [] == services.saved
    assert "before" == context(live).last_checkpoint


# ------------------------------------------------------------------------ client, logger


@pytest.mark.anyio
async def test_the_client_blocks_only_for_sync_handlers() -> None:
    ctx = context()
    assert ("sync client", TASK) == cast(object, ctx.client)
    assert ctx.client is ctx.client  # it counts what it creates
    assert ("client", TASK) == cast(object, (await async_context()).client)


def test_a_handler_receives_its_kind_of_context_by_annotation_or_name() -> None:
    def plain(ctx: Context) -> str:
        return type(ctx).__name__

    def bare(context):  # type: ignore[no-untyped-def]
        return type(context).__name__

    async def awaited(ctx: Context | None) -> str:
        return type(ctx).__name__

    assert ["SyncContext", "SyncContext", "AsyncContext"] == [
        call(handler) for handler in (plain, bare, awaited)
    ]


def wants_async(ctx: AsyncContext) -> None: ...


async def wants_sync(ctx: SyncContext) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (wants_async, "is AsyncContext, but a handler that is not async gets SyncContext"),
        (wants_sync, "is SyncContext, but an async handler gets AsyncContext"),
    ],
)
def test_a_handler_with_the_other_kind_of_context_is_refused(handler: Any, message: str) -> None:
    with pytest.raises(Misuse, match=f"the type of parameter 'ctx' {message}"):
        plan(handler)


def test_log_records_contain_the_attempt_and_use_the_handlers_module(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ctx = context(attempt(number=2))
    with caplog.at_level(logging.INFO):
        ctx.logger.info("charged", extra={"cents": 5})
    record = caplog.records[0]
    assert __name__ == record.name
    assert {
        "task_id": TASK,
        "step": "charge",
        "attempt": 2,
        "correlation_id": "corr-1",
        "cents": 5,
    }.items() <= vars(record).items()
    assert ctx.logger is ctx.logger
