"""Decisions, conditions, trigger rules and allowed failures, run to the end of a task."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.engine import computing
from tests.engine.factories import SOON
from tests.waiting import eventually

from tasker import Context, Decision, PermanentError, Worker, Workflow
from tasker.client import LocalClient
from tasker.model import AttemptOutcome, PauseTarget, StepStatus, TaskId, TaskStatus
from tasker.store.protocol import AuditNote, Store
from tasker.template.load import parse_template
from tasker.testing import WorkflowRun, run_workflow

pytestmark = pytest.mark.anyio

REFUND = """
name: refund
steps:
  - {name: route, type: decision}
  - {name: auto_approve, dependencies: [route]}
  - {name: manager, dependencies: [route]}
  - {name: finance, dependencies: [route], when: input.amount > 5000}
  - {name: enrich, allow_failure: true}
  - name: finalize
    dependencies: [auto_approve, manager, finance, enrich]
    trigger: none_failed_min_one_success
  - {name: tell_ops, dependencies: [manager, finance], trigger: one_failed}
"""


def statuses(run: WorkflowRun[Any]) -> Mapping[str, str]:
    return {name: step.status.value for name, step in run.steps.items()}


async def refund(amount: int, decision: object, **stubs: object) -> WorkflowRun[Any]:
    names = ("auto_approve", "manager", "finance", "enrich", "finalize", "tell_ops")
    given = {**dict.fromkeys(names, "done"), "route": decision, **stubs}
    return await run_workflow(parse_template(REFUND), {"amount": amount}, stubs=given)


async def test_the_children_that_a_decision_does_not_choose_are_skipped() -> None:
    run = await refund(10, Decision.choose("auto_approve"))

    assert {
        "route": "complete",
        "auto_approve": "complete",
        "manager": "skipped",
        "finance": "skipped",
        "enrich": "complete",
        "finalize": "complete",
        "tell_ops": "skipped",
    } == statuses(run)
    assert TaskStatus.COMPLETE is run.task.status
    assert "all_success: route did not choose it" == run.steps["manager"].skip_reason
    assert run.steps["manager"].error is None
    assert (
        "one_failed: manager was skipped, finance was skipped" == run.steps["tell_ops"].skip_reason
    )


async def test_a_condition_is_evaluated_after_the_rule() -> None:
    cheap = await refund(10, Decision.choose("manager", "finance"))
    dear = await refund(9000, Decision.choose("manager", "finance"))

    assert "when: input.amount > 5000" == cheap.steps["finance"].skip_reason
    assert StepStatus.COMPLETE is dear.steps["finance"].status
    assert StepStatus.COMPLETE is cheap.steps["finalize"].status


async def test_a_decision_may_choose_nothing() -> None:
    run = await refund(10, Decision.none("nothing to refund"))

    assert {"chosen": [], "reason": "nothing to refund", "data": {}} == run.steps["route"].result
    assert StepStatus.COMPLETE is run.steps["finalize"].status  # enrich succeeded


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (Decision.choose("tell_ops"), "chose 'tell_ops', which does not depend on it; allowed:"),
        (Decision.choose("manger"), "did you mean 'manager'?"),
        ("manager", "must return Decision.choose(...)"),
        ({"chosen": "manager"}, "must return Decision.choose(...)"),
    ],
)
async def test_an_invalid_choice_fails_the_decision_permanently(
    result: object, message: str
) -> None:
    run = await refund(10, result)

    assert TaskStatus.ERROR is run.task.status
    assert run.task.failure is not None
    assert ("route", "invalid_choice") == (run.task.failure.step, run.task.failure.code)
    assert message in run.task.failure.message
    assert 1 == run.steps["route"].attempts


async def test_an_allowed_failure_counts_as_a_success() -> None:
    run = await refund(10, Decision.choose("manager"), enrich=PermanentError("no data"))

    assert "error" == statuses(run)["enrich"]
    assert "complete" == statuses(run)["finalize"]
    assert (TaskStatus.COMPLETE, None) == (run.task.status, run.task.failure)


async def test_a_failure_frees_the_children_whose_rule_accepts_it() -> None:
    """The others stay pending, and the task fails by it."""
    run = await refund(9000, Decision.choose("manager", "finance"), manager=PermanentError("no"))

    assert "complete" == statuses(run)["tell_ops"]
    assert "pending" == statuses(run)["finalize"]
    assert TaskStatus.ERROR is run.task.status
    assert run.task.failure is not None
    assert "manager" == run.task.failure.step


RULES = """
name: rules
steps:
  - {name: a, allow_failure: false}
  - {name: b}
  - {name: c, dependencies: [a, b], trigger: RULE}
"""
NO = PermanentError("no")


@pytest.mark.parametrize(
    ("rule", "a", "b", "status"),
    [
        ("all_success", 1, 1, "complete"),
        ("all_success", NO, 1, "pending"),
        ("all_failed", NO, NO, "complete"),
        ("all_failed", NO, 1, "skipped"),
        ("all_failed", 1, 1, "skipped"),
        ("all_done", NO, 1, "complete"),
        ("one_success", NO, 1, "complete"),
        ("one_success", NO, NO, "error"),
        ("one_failed", NO, 1, "complete"),
        ("one_failed", 1, 1, "skipped"),
        ("one_done", NO, NO, "complete"),
        ("none_failed", 1, 1, "complete"),
        ("none_failed", NO, 1, "pending"),
        ("none_skipped", NO, 1, "complete"),
        ("all_skipped", 1, 1, "skipped"),
        ("all_skipped", NO, 1, "skipped"),
        ("always", NO, 1, "complete"),
    ],
)
async def test_each_trigger_rule_determines_when_a_step_runs(
    rule: str, a: object, b: object, status: str
) -> None:
    template = parse_template(RULES.replace("RULE", rule))

    run = await run_workflow(template, stubs={"a": a, "b": b, "c": "ran"})

    assert status == statuses(run)["c"]
    failed = status in ("pending", "error") or (rule == "always" and a is NO)
    assert (TaskStatus.ERROR if failed else TaskStatus.COMPLETE) is run.task.status


async def test_branches_nest_and_converge() -> None:
    template = parse_template("""
name: nested
steps:
  - {name: outer, type: decision}
  - {name: left, dependencies: [outer]}
  - {name: inner, type: decision, dependencies: [outer]}
  - {name: deep, dependencies: [inner]}
  - {name: deeper, dependencies: [inner]}
  - {name: join, type: deferred_convergence, dependencies: [left, deep, deeper]}
""")
    stubs = {"left": 1, "deep": 2, "deeper": 3, "join": 4}

    deep = await run_workflow(
        template,
        stubs={**stubs, "outer": Decision.choose("inner"), "inner": Decision.choose("deeper")},
    )
    none = await run_workflow(
        template, stubs={**stubs, "outer": Decision.none("no"), "inner": Decision.none()}
    )

    assert {"left": "skipped", "deep": "skipped", "deeper": "complete", "join": "complete"} == {
        name: statuses(deep)[name] for name in stubs
    }
    assert set(statuses(none).values()) == {"complete", "skipped"}
    assert "skipped" == statuses(none)["join"]
    assert (TaskStatus.COMPLETE, None) == (none.task.status, none.task.result)


async def test_a_step_that_another_worker_runs_is_released_to_its_queue(store: Store) -> None:
    """A worker of the namespace without its handler evaluates the condition."""
    template = parse_template("""
name: two
namespace: n
steps:
  - {name: here}
  - {name: there, dependencies: [here], when: results.here > 1}
""")
    first = Worker(store, [{"here": lambda: 2}], templates=[template], partial=True, name="first")
    async with first:
        task = await first.client.create_task("n.two")
        async with Worker(store, [{"there": lambda here: here + 1}], namespaces=["n"]) as second:
            ended = await second.client.wait(task.id, timeout=SOON)

    assert 3 == ended.result
    outcomes = [each.outcome for each in await store.list_attempts(task.id, no=2)]
    assert AttemptOutcome.COMPLETE is outcomes[-1]
    assert {AttemptOutcome.RELEASED} >= set(outcomes[:-1])


async def test_a_pause_of_a_handlers_queue_holds_steps_that_the_engine_decides_about(
    store: Store,
) -> None:
    """A step that its condition skips needs no handler, so it is skipped during the pause."""
    template = parse_template("""
name: held
namespace: n
steps:
  - {name: first}
  - name: each
    map: {over: input.items, as: item}
    steps:
      - {name: held, when: item > 1}
  - {name: apart, dependencies: [first], when: results.first > 1}
  - {name: skipped, dependencies: [first], when: results.first > 2}
""")
    ran: list[str] = []
    calls = {
        "first": lambda: 2,
        "held": lambda item: ran.append(f"held {item}"),
        "apart": lambda first: ran.append("apart"),
        "skipped": lambda first: ran.append("skipped"),
    }
    queues = [PauseTarget.of_queue("n", name) for name in ("held", "apart", "skipped")]
    act = AuditNote(actor="alice", reason="because")

    async def is_held(task_id: TaskId) -> bool:
        steps = {step.name: step for step in await store.list_steps(task_id)}
        statuses = {name: step.status for name, step in steps.items()}
        expected = {
            "skipped": StepStatus.SKIPPED,
            "apart": StepStatus.ENQUEUED,
            "each[0].held": StepStatus.SKIPPED,
            "each[1].held": StepStatus.ENQUEUED,
        }  # the last two exist once the map has created its instances
        return expected.items() <= statuses.items() and steps["apart"].pause is not None

    async with Worker(store, [calls], templates=[template]) as worker:
        for queue in queues:
            await store.pause(queue, act)
        task = await worker.client.create_task("n.held", {"items": [1, 2]})
        await eventually(lambda: is_held(task.id))
        during = list(ran)
        for queue in queues:
            await store.resume(queue, act)
        ended = await worker.client.wait(task.id, timeout=SOON)

    assert [] == during
    assert ["apart", "held 2"] == sorted(ran)
    assert TaskStatus.COMPLETE is ended.status


async def test_a_server_runs_engine_steps_where_no_worker_does(store: Store) -> None:
    """Its worker evaluates the condition; the step waits for a worker with its handler."""
    template = parse_template("""
name: lone
namespace: lone
steps:
  - {name: here, when: input.go}
  - {name: there, dependencies: [here], trigger: none_failed}
""")
    client = LocalClient(store)
    await client.register(template)
    async with Worker(store, engine_only=True):
        skipped = await client.create_task("lone.lone", {"go": False})
        going = await client.create_task("lone.lone", {"go": True})
        await eventually(lambda: _has(store, skipped.id, "skipped", "enqueued"))
        await eventually(lambda: _is_released(store, going.id))

    assert await _has(store, going.id, "enqueued", "pending")


async def _has(store: Store, task_id: TaskId, *statuses: str) -> bool:
    return list(statuses) == [step.status.value for step in await store.list_steps(task_id)]


async def _is_released(store: Store, task_id: TaskId) -> bool:
    history = await store.list_attempts(task_id, no=1)
    return [each.outcome for each in history] == [AttemptOutcome.RELEASED]


orders = Workflow("n.orders", version="1.0.0")


@orders.step(allow_failure=True)
def score() -> int:
    raise PermanentError("no data", code="NO_DATA")


@orders.decision
def way(cents: int) -> Decision:
    chosen = ["manual"] if cents > 500 else ["auto"]
    return Decision.choose(*chosen, reason="by amount", data={"cents": cents})


@orders.step(after=way)
def auto() -> str:
    return "auto"


@orders.step(after=way, when=orders.results.way.data.cents < 10_000)
def manual() -> str:
    return "manual"


@orders.step(trigger="none_failed_min_one_success")
def end(auto: str | None, manual: str | None, score: int | None, context: Context) -> list[Any]:
    failure = context.failure_of("score")
    return [auto, manual, score, failure and failure.code, context.failure_of("auto")]


async def test_a_python_workflow_declares_the_same_branches(store: Store) -> None:
    """Parents without success are None, and their error can be read."""
    run = await run_workflow(orders, {"cents": 900})
    dear = await run_workflow(orders, {"cents": 20_000})

    assert [None, "manual", None, "NO_DATA", None] == run.task.result
    assert "all_success: way did not choose it" == run.steps["auto"].skip_reason
    assert "when: results.way.data.cents < 10000" == dear.steps["manual"].skip_reason


async def test_a_handler_in_a_process_reads_failures_too(store: Store) -> None:
    template = parse_template("""
name: apart
namespace: n
steps:
  - {name: score, allow_failure: true}
  - {name: end, dependencies: [score], handler: tests.engine.computing.code_of_failure}
""")
    async with Worker(store, [{"score": score}, computing], templates=[template]) as worker:
        task = await worker.client.run("n.apart", timeout=SOON)

    assert "NO_DATA" == task.result


@pytest.mark.parametrize("retried", [True, False], ids=["retried", "resolved"])
async def test_a_failure_is_read_again_for_each_child(store: Store, retried: bool) -> None:
    """The worker has read it for one child; another child gets the later result."""
    template = parse_template("""
name: again
namespace: n
steps:
  - {name: a, allow_failure: true}
  - {name: b}
  - {name: c, dependencies: [a]}
  - {name: d, dependencies: [a, b]}
""")
    done, attempts = asyncio.Event(), 0

    def a() -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise PermanentError("no")
        return 7

    async def b() -> None:
        await done.wait()

    def c(a: int | None) -> bool:
        return a is None

    def d(a: int | None, context: Context) -> list[Any]:
        return [a, context.failure_of("a")]

    handlers = {"a": a, "b": b, "c": c, "d": d}
    async with Worker(store, [handlers], templates=[template]) as worker:
        task = await worker.client.create_task("n.again")
        await eventually(lambda: _ended(store, task.id, 3))
        if retried:
            await worker.client.retry(task.id, steps=["a"], reason="fixed")
            await eventually(lambda: _ended(store, task.id, 1))
        else:
            await worker.client.complete_step(task.id, "a", 7, reason="by hand")
        done.set()
        ended = await worker.client.wait(task.id, timeout=SOON)

    assert {"c": True, "d": [7, None]} == ended.result


async def _ended(store: Store, task_id: TaskId, no: int) -> bool:
    steps = await store.list_steps(task_id)
    return steps[no - 1].status is StepStatus.COMPLETE
