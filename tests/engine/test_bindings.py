"""Code belongs to a namespace: which handlers a worker calls for whose templates."""

import re
from pathlib import Path

import pytest
from tests.engine.factories import SOON, step

from tasker import (
    LocalClient,
    StepStatus,
    TaskStatus,
    Template,
    Worker,
    WorkerSettings,
    Workflow,
    load_template,
)
from tasker.derive import derive_statuses
from tasker.errors import Misuse
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio

SEEDS = Path(__file__).parents[1] / "seeds"


def template(namespace: str, name: str, callable: str) -> Template:  # noqa: A002 - as in YAML
    """Make a template of one step, `only`, that asks for the handler `callable`."""
    spec = step("only", callable=callable)
    return Template(namespace=namespace, name=name, version="1.0.0", steps=(spec,))


PAY = template("a", "pay", "a.transfer_money")
GREET = template("b", "greet", "greet")
STEAL = [
    template("b", "steal_by_full_name", "a.transfer_money"),
    template("b", "steal_by_own_name", "transfer_money"),
]


async def test_a_template_of_one_namespace_never_calls_a_handler_of_another(store: Store) -> None:
    transfers: list[str] = []

    def transfer_money(to: str) -> None:
        transfers.append(to)

    handlers = {"a.transfer_money": transfer_money, "greet": lambda: "hello"}
    developer = LocalClient(store, actor="developer of b")
    for steal in STEAL:
        await developer.register(steal)
    tasks = [await developer.create_task(str(steal.key), {"to": "mallory"}) for steal in STEAL]

    async with Worker(store, [handlers], templates=[PAY, GREET]) as worker:
        await worker.client.run("b.greet", {}, timeout=SOON)
        await worker.client.run("a.pay", {"to": "ann"}, timeout=SOON)

    assert ["ann"] == transfers
    for task in tasks:
        (only,) = await store.list_steps(task.id)
        assert (StepStatus.ENQUEUED, 0) == (only.status, only.attempts)


async def test_a_due_step_that_no_live_worker_can_run_is_shown(store: Store) -> None:
    """
    Its handler may be bound to another namespace; a worker that has it makes a difference.
    """
    client = LocalClient(store)
    await client.register(GREET)
    task = await client.create_task("b.greet", {})
    async with Worker(store, [{"greet": lambda: "hello"}], namespaces=["a"]):
        (only,) = await store.list_steps(task.id)
        waiting = await store.get_task(task.id)
        backlog = await store.count_backlog()
    assert (True, 1, 1) == (
        only.no_worker,
        waiting.counts.no_worker,
        backlog.steps_without_worker,
    )
    derived = derive_statuses(waiting)
    assert ("no_worker", "start_worker", "blocked", 0.0) == (
        derived.execution_status,
        derived.recommended_action,
        derived.health_status,
        derived.completion_percentage,
    )

    async with Worker(store, [{"greet": lambda: "hello"}], namespaces=["b"]) as worker:
        await worker.client.wait(task.id, timeout=SOON)
        (only,) = await store.list_steps(task.id)
    assert (False, 0) == (only.no_worker, (await store.count_backlog()).steps_without_worker)


async def test_labels_that_a_step_requires_decide_which_worker_runs_it(store: Store) -> None:
    spec = step("only", requires={"gpu": "true"})
    render = Template(namespace="b", name="render", version="1.0.0", steps=(spec,))
    handlers = {"only": lambda: "rendered"}
    gpu = WorkerSettings(labels={"gpu": "true", "zone": "eu"})
    async with Worker(store, [handlers], templates=[render]) as plain:
        task = await plain.client.create_task("b.render", {})
        assert (await store.list_steps(task.id))[0].no_worker

    async with Worker(store, [handlers], templates=[render], settings=gpu) as worker:
        await worker.client.wait(task.id, timeout=SOON)


async def test_handlers_without_namespace_or_template_are_refused(memory: Store) -> None:
    with pytest.raises(Misuse, match=r"not bound to any namespace: .*--namespace payments"):
        Worker(memory, [{"greet": lambda: "hello"}])


async def test_an_unbound_handler_is_a_warning(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = {"greet": lambda: "hello", "idle": lambda: None}
    async with Worker(memory, [handlers], templates=[GREET]):
        pass
    (warning,) = [record for record in caplog.records if record.msg == "handlers_unbound"]
    assert ["idle"] == vars(warning)["handlers"]
    assert "--namespace" in vars(warning)["hint"]


async def test_a_second_name_of_a_bound_handler_is_no_warning(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def greet() -> str:
        return "hello"

    async with Worker(memory, [{"greet": greet, "salute": greet}], templates=[GREET]):
        pass
    assert [] == [record.msg for record in caplog.records if record.msg == "handlers_unbound"]


async def test_one_worker_runs_all_printed_templates(memory: Store) -> None:
    """For any first segment of their handlers' names."""
    files = sorted(path for path in SEEDS.glob("*.yaml") if re.search(r"\d\.yaml$", path.name))
    templates = [load_template(path) for path in files]
    handlers = {spec.handler: lambda: "done" for each in templates for spec in each.steps}
    context = {
        **{"payment_id": "pay_1", "refund_amount": 5000},
        **{"ticket_id": "t_1", "customer_id": "c_1"},
    }
    async with Worker(memory, [handlers], templates=templates) as worker:
        for each in templates:
            task = await worker.client.run(each.full_name, context, timeout=SOON)
            assert TaskStatus.COMPLETE == task.status
    assert 5 == len(templates)


async def test_a_worker_lists_plain_functions_that_steps_call(store: Store, tmp_path: Path) -> None:
    """Also those of templates that another process has registered; others may be helpers."""
    file = tmp_path / "plain_greetings.py"
    file.write_text("def greet(): ...\n\ndef wave(): ...\n\ndef helper(): ...\n")
    await LocalClient(store).register(template("b", "wave", "wave"))

    async with Worker(store, [str(file)], templates=[GREET], namespaces=["b"]):
        [worker] = await store.list_workers()

    assert ("greet", "wave") == tuple(worker.handlers)


async def test_a_step_without_a_handler_is_reported_once(
    memory: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if the worker gets its template twice: as a workflow and as a template."""
    flow = Workflow("shop.order", version="1.0.0")
    flow.step(name="first")(lambda: 1)
    flow.add("elsewhere")

    async with Worker(memory, [flow], templates=[flow.template], partial=True):
        pass

    warnings = [record for record in caplog.records if record.msg == "step_without_handler"]
    assert 1 == len(warnings)
