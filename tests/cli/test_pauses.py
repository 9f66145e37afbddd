"""`tasker queue`, and pausing from the command line."""

import asyncio
from contextlib import chdir
from datetime import timedelta

from tests.cli.conftest import Here

from tasker.store.open import open_store


def test_a_queue_is_paused_weighted_and_resumed(tasker: Here) -> None:
    """The list says what is paused, by whom and why."""
    assert 0 == tasker("template", "register", "sell.yaml").code

    paused = tasker("queue", "pause", "charge", "-n", "shop", "--as", "ann", "--reason", "down")
    listed = tasker("queue", "list")
    weighed = tasker("queue", "weight", "charge", "4", "-n", "shop")
    all_pauses = tasker("queue", "pauses")
    resumed = tasker("queue", "resume", "charge", "-n", "shop")
    again = tasker("queue", "resume", "charge", "-n", "shop")

    assert paused.out.startswith("paused: queue charge of namespace shop, by ann ")
    assert paused.out.rstrip().endswith(": down")
    assert "by ann" in listed.out
    assert "queue charge of namespace shop has weight 4\n" == weighed.out
    assert "queue charge of namespace shop, by ann" in all_pauses.out
    assert "resumed: queue charge of namespace shop\n" == resumed.out
    assert "not paused: queue charge of namespace shop\n" == again.out


def test_an_unknown_queue_is_refused_with_a_suggestion(tasker: Here) -> None:
    tasker.project.write(
        "flow.py",
        """
        from tasker import Workflow

        flow = Workflow("shop.pay", version="1.0.0")


        @flow.step
        def take() -> None:
            pass
        """,
    )
    assert 0 == tasker("template", "register", "sell.yaml", "-H", "flow.py").code

    misspelt = tasker("queue", "pause", "chrage", "-n", "shop")
    step = tasker("queue", "weight", "take", "2", "-n", "shop")  # its handler has a longer name
    other = tasker("queue", "pause", "charge", "-n", "store")

    assert [2, 2, 2] == [ran.code for ran in (misspelt, step, other)]
    assert "uses the handler 'chrage'; did you mean 'charge'?" in misspelt.err
    assert "uses the handler 'take'; did you mean 'shop.pay.take'?" in step.err
    assert "did you mean" not in other.err


def test_the_attempts_of_a_worker_are_listed(tasker: Here) -> None:
    """Of a worker without any, it says so."""
    assert 0 == tasker.run().code

    listed = tasker("worker", "attempts", "1")
    none = tasker("worker", "attempts", "4711")

    assert 0 == listed.code
    assert "complete" in listed.out
    assert (0, "") == (none.code, none.out)
    assert "no ended attempts of worker 4711" in none.err


def test_a_worker_is_drained(tasker: Here) -> None:
    """By its id; it claims no more."""

    async def register(url: str) -> int:
        async with open_store(url, upgrade=True) as store:
            lease = timedelta(seconds=60)
            return await store.register_worker("w", lease=lease, slots=1, handlers=["pay"])

    store = "sqlite:drained.db"
    with chdir(tasker.project.root):
        worker = asyncio.run(register(store))

    drained = tasker("worker", "drain", str(worker), "--store", store, "--reason", "deploy")
    unknown = tasker("worker", "drain", "4711", "--store", store)

    assert (0, f"worker {worker} claims no more steps\n") == (drained.code, drained.out)
    assert 2 == unknown.code
    assert "no live worker has the id 4711" in unknown.err
