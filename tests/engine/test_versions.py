"""Code belongs to a version: which worker runs the steps of which template version."""

from collections import Counter

import pytest
from tests.engine.factories import SOON

from tasker import StepStatus, Worker, Workflow
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


def ship(version: str) -> Workflow:
    """Make `up.ship`, whose step `a` returns its version."""
    workflow = Workflow("up.ship", version=version)

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


async def test_in_a_rolling_deploy_each_version_is_run_by_its_own_code(store: Store) -> None:
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
