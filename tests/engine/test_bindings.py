"""Code belongs to a namespace: which handlers a worker calls for whose templates."""

import pytest
from tests.engine.factories import SOON, step

from tasker import LocalClient, StepStatus, Template, Worker
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


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
