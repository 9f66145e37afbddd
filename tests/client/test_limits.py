"""Limits, set and listed by clients of every kind."""

from dataclasses import replace

import pytest
from tests.client.conftest import Scene

from tasker import InvalidInput, Limit, NotFound
from tasker.model import LimitValues, Rate
from tasker.testing.store_suite.factories import ManualWorker, one_step_template, register_template

pytestmark = pytest.mark.anyio


async def test_a_limit_is_set_listed_and_removed(scene: Scene) -> None:
    """Patterns apply to keys that have no setting of their own."""
    limits = (Limit("customer:{input.customer}", concurrency=1),)
    await register_template(scene.store, replace(one_step_template(), limits=limits))
    await scene.client.set_limit(
        "customer:*", namespace="suite", concurrency=2, rate="5/s", reason="provider asks"
    )
    for customer in ("a", "a", "a", "b"):
        await scene.client.create_task("suite.one", {"customer": customer})
    worker = await ManualWorker.register(scene.store)
    await worker.claim_limited()

    first, second = await scene.client.limits("suite")
    (setting,) = await scene.client.limit_settings("suite")
    await scene.client.unset_limit("customer:*", namespace="suite")
    third, _ = await scene.client.limits("suite")

    assert ("customer:a", "customer:*", 2, 1) == (
        *(first.key, first.set_by, first.running, first.waiting),
    )
    assert LimitValues(concurrency=2, rate=Rate(5, "s")) == first.values == setting.values
    assert ("customer:b", 1) == (second.key, second.running)
    assert (None, LimitValues(concurrency=1)) == (third.set_by, third.values)
    with pytest.raises(NotFound):
        await scene.client.unset_limit("customer:*", namespace="suite")


async def test_changes_of_limits_are_audited(scene: Scene) -> None:
    await scene.client.set_limit("stripe", namespace="suite", rate="100/s", reason="new contract")
    await scene.client.unset_limit("stripe", namespace="suite")

    unset, set_ = (await scene.store.list_team_audit(namespace="suite"))[:2]

    assert ("set_limit", "limit stripe", None, {"rate": "100/s"}, "new contract") == (
        *(set_.action, set_.subject, set_.before, set_.after, set_.reason),
    )
    assert ("unset_limit", {"rate": "100/s"}, None) == (unset.action, unset.before, unset.after)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"concurrency": -1},
        {"concurrency": True},
        {"concurrency": 1_000_001},
        {"rate": "fast"},
        {"rate": "0/s"},
        {"burst": 0},
    ],
)
async def test_impossible_limits_are_refused(scene: Scene, values: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        await scene.client.set_limit("a", namespace="suite", **values)  # type: ignore[arg-type]
    assert [] == await scene.client.limit_settings("suite")
