"""Code belongs to a version: which worker runs the steps of which template version."""

import threading
from collections import Counter

import pytest
from tests.engine.factories import SOON
from tests.engine.factories import step as step_of

from tasker import LocalClient, StepStatus, Template, Worker, Workflow, handler
from tasker.errors import HandlerNotFound
from tasker.model import StepSpec
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


def ship(version: str, serves: str = "") -> Workflow:
    """Make `up.ship`, whose step `a` returns its version."""
    workflow = Workflow("up.ship", version=version, serves=serves)

    @workflow.step
    def a() -> str:
        return version

    return workflow


async def test_a_task_waits_for_a_worker_that_has_its_version(store: Store) -> None:
    async with Worker(store, [ship("1.0.0")]):
        pass
    async with Worker(store, [ship("2.0.0")]) as second:
        old = await second.client.create_task("up.ship@1.0.0", {})
        await second.client.run("up.ship@2.0.0", {}, timeout=SOON)
        (step,) = await store.list_steps(old.id)
        assert (StepStatus.ENQUEUED, 0) == (step.status, step.attempts)

    async with Worker(store, [ship("1.0.0")]) as first:
        await first.client.wait(old.id, timeout=SOON)
    (step,) = await store.list_steps(old.id)
    assert "1.0.0" == step.result


async def test_each_version_is_run_by_its_own_code_during_a_rolling_deploy(store: Store) -> None:
    async with (
        Worker(store, [ship("1.0.0")]) as first,
        Worker(store, [ship("2.0.0")], namespaces=["n"]),
    ):
        tasks = [
            await first.client.create_task(f"up.ship@{version}.0.0", {}) for version in (1, 2) * 25
        ]
        for task in tasks:
            await first.client.wait(task.id, timeout=SOON)
        steps = [(await store.list_steps(task.id))[0] for task in tasks]
        results = Counter(
            (task.template.version, step.result) for task, step in zip(tasks, steps, strict=True)
        )
    assert {("1.0.0", "1.0.0"): 25, ("2.0.0", "2.0.0"): 25} == results


async def test_one_worker_holds_several_versions(store: Store) -> None:
    async with Worker(store, [ship("1.0.0"), ship("2.0.0")]) as worker:
        for version in ("1.0.0", "2.0.0"):
            task = await worker.client.run(f"up.ship@{version}", {}, timeout=SOON)
            (step,) = await store.list_steps(task.id)
            assert version == step.result


async def test_a_worker_warns_of_open_tasks_that_need_another_version_of_its_code(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of their templates, which may be many, are compared off the event loop."""
    threads = set()
    real = Worker._lacks_required_version

    def recorded(worker: Worker, template: Template, spec: StepSpec) -> bool:
        threads.add(threading.get_ident())
        return real(worker, template, spec)

    monkeypatch.setattr(Worker, "_lacks_required_version", recorded)
    async with Worker(store, [ship("1.0.0")]) as first:
        first.stop()
        for _ in range(3):
            await LocalClient(store).create_task("up.ship@1.0.0", {})
    async with Worker(store, [ship("2.0.0")]):
        pass
    (warning,) = [
        record for record in caplog.records if record.msg == "open_tasks_need_other_version"
    ]
    facts = vars(warning)
    assert ("up.ship@1.0.0", 3, ["a"]) == (facts["template"], facts["tasks"], facts["steps"])
    assert 'Workflow("up.ship", ..., serves=">=1.0.0")' in facts["hint"]
    assert threads
    assert threading.get_ident() not in threads

    caplog.clear()
    async with Worker(store, [ship("2.0.0", serves=">=1.0.0")]):
        pass
    assert "open_tasks_need_other_version" not in [record.msg for record in caplog.records]


async def test_code_that_serves_earlier_versions_runs_their_tasks(store: Store) -> None:
    """
    As the warning advises; later versions wait for their own.
    """
    async with Worker(store, [ship("1.0.0"), ship("3.0.0")]):
        pass
    async with Worker(store, [ship("2.0.0", serves=">=1.0.0")]) as worker:
        later = await worker.client.create_task("up.ship@3.0.0", {})
        task = await worker.client.run("up.ship@1.0.0", {}, timeout=SOON)
        (step,) = await store.list_steps(task.id)
        assert "2.0.0" == step.result
        (step,) = await store.list_steps(later.id)
        assert (StepStatus.ENQUEUED, True) == (step.status, step.no_worker)
        assert "no live worker has handler 'up.ship.a' at version 3.0.0" == step.no_worker_reason


async def test_a_step_of_yaml_runs_on_the_version_that_it_requires(store: Store) -> None:
    spec = step_of("only", callable="charge", handler_version="^2")
    bill = Template(namespace="up", name="bill", version="1.0.0", steps=(spec,))

    @handler("charge", version="1.4.0")
    def old() -> str:
        return "1.4.0"

    @handler("charge", version="2.1.0")
    def new() -> str:
        return "2.1.0"

    with pytest.raises(
        HandlerNotFound,
        match=r"satisfies \^2; available here: 1\.4\.0",
    ):
        async with Worker(store, [old], templates=[bill]):
            pass
    async with (
        Worker(store, [old], namespaces=["up"]),
        Worker(store, [new], templates=[bill]) as worker,
    ):
        task = await worker.client.run("up.bill", {}, timeout=SOON)
        (only,) = await store.list_steps(task.id)
        assert "2.1.0" == only.result
