"""Compensated tasks, and bounds on open tasks, as clients of every kind see them."""

from dataclasses import replace

import pytest
from tests.client.conftest import Scene

from tasker.errors import CompensationStarted, TooManyOpenTasks
from tasker.model import CompensationStatus, TaskConcurrency
from tasker.testing.store_suite.compensating import (
    run_planning_step,
    run_trip_until_failure,
    trip_template,
)
from tasker.testing.store_suite.factories import one_step_template, register_template

pytestmark = pytest.mark.anyio


async def test_a_compensation_can_be_followed_but_not_interrupted(scene: Scene) -> None:
    worker, task_id = await run_trip_until_failure(scene.store, trip_template())

    task = await scene.client.get(task_id)
    (reason, *_) = await scene.client.why(task_id)
    assert (CompensationStatus.RUNNING, "compensating") == (task.compensation, reason.code)
    await run_planning_step(scene.store, worker, trip_template())
    for act in (scene.client.cancel(task_id), scene.client.retry(task_id)):
        with pytest.raises(CompensationStarted, match="its compensation has begun"):
            await act
    await worker.complete_all_due()

    steps = {step.name: step for step in await scene.client.steps(task_id)}
    assert (1, 0) == (steps["flight.compensation"].undoes, steps["compensation.plan"].undoes)
    assert CompensationStatus.COMPLETE == (await scene.client.get(task_id)).compensation


async def test_a_task_beyond_the_concurrency_is_refused(scene: Scene) -> None:
    bound = TaskConcurrency("customer:{input.customer}", tasks=1, when_full="reject")
    await register_template(scene.store, replace(one_step_template(), concurrency=bound))
    await scene.client.create_task("suite.one", {"customer": "a"})
    await scene.client.create_task("suite.one", {"customer": "b"})

    with pytest.raises(TooManyOpenTasks, match="1 task with the key 'customer:a' may be open"):
        await scene.client.create_task("suite.one", {"customer": "a"})
