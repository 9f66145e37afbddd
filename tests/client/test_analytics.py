"""Counts, search, series, the system and causes of failures, by clients of every kind."""

from datetime import UTC, datetime

import pytest
from tests.client.conftest import Scene
from tests.client.test_clients import SOON, UNKNOWN_TASK, registered

from tasker import AnalysisWindow, InvalidInput, TaskFailed, TaskFilter, TaskStatus
from tasker.analytics.failures import FailureCause
from tasker.analytics.figures import MinuteFigures

pytestmark = pytest.mark.anyio

UNTIL = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)


async def failed(scene: Scene) -> FailureCause:
    """Run a task that fails; return the cause."""
    client = await registered(scene)
    async with scene.worker():
        task = await client.create_task("hello.payment", correlation_id="order 7")
        with pytest.raises(TaskFailed):
            await client.wait(task.id, timeout=SOON)
    (cause,) = await client.failures.list()
    assert task.id == cause.sample
    return cause


async def test_tasks_are_counted_by_status(scene: Scene) -> None:
    """A status in the filter is ignored."""
    client = await registered(scene)
    for name in ("Ada", "Bob"):
        await client.create_task("hello.greeting", {"name": name})
    await client.cancel((await client.create_task("hello.payment")).id)
    for expected, filter in (
        ({"pending": 2, "cancelled": 1}, None),
        ({"pending": 2}, TaskFilter(name="greeting", status=TaskStatus.COMPLETE)),
        ({}, TaskFilter(namespace="other")),
    ):
        counts = await client.count_tasks(filter)
        present = {name: number for name, number in counts.by_status.items() if number}
        assert (expected, True) == (present, counts.exact)
    attributed = await client.count_tasks(attributes={"order_id": "7"})
    assert 0 == sum(attributed.by_status.values())


async def test_a_search_finds_tasks_and_workflows(scene: Scene) -> None:
    client = await registered(scene)
    task = await client.create_task("hello.payment", correlation_id="order 7")
    for text, expected in (
        (task.id[:13], [("task", task.id)]),
        ("order 7", [("task", task.id)]),
        ("PAYM", [("workflow", "hello.payment")]),
        (UNKNOWN_TASK, []),
    ):
        assert expected == [(one.kind, one.id) for one in await client.search(text)]
    with pytest.raises(InvalidInput):
        await client.search("")


async def test_series_are_made_of_figures(scene: Scene) -> None:
    client = await registered(scene)
    template = (await client.template("hello.payment")).id
    minute = int(datetime.now(UTC).timestamp()) // 60
    figures = MinuteFigures(minute=minute, template_id=template, completed=2, failed=1, seconds=9.0)
    await scene.store.insert_minute_figures([figures])

    window = AnalysisWindow(hours=1, namespace="hello")
    chart = await client.series("ended", window, by="status", step_seconds=300)
    assert {"complete": 2, "error": 1} == {one.key: sum(one.values) for one in chart.series}
    assert (300, 12) == (chart.step_seconds, chart.points)
    (duration,) = (await client.series("duration")).series
    assert 3.0 == max(duration.values)
    assert () == (await client.series("ended", AnalysisWindow(hours=1, name="greeting"))).series
    for metric, wrong, by, step in (
        ("end", window, "none", None),
        ("ended", window, "color", None),
        ("ended", window, "none", 61),
        ("ended", AnalysisWindow(hours=337), "none", None),
    ):
        with pytest.raises(InvalidInput):
            await client.series(metric, wrong, by=by, step_seconds=step)


async def test_the_state_of_the_store_names_its_workers(scene: Scene) -> None:
    client = scene.client
    idle = await client.system()
    async with scene.worker() as worker:
        busy = await client.system()

    assert (0, 1, worker.settings.slots) == (idle.workers, busy.workers, busy.slots)
    assert scene.store.url.startswith(idle.store)
    assert idle.utilization is not None
    assert 0 == idle.utilization.due_steps


async def test_a_cause_is_assigned_noted_and_muted(scene: Scene) -> None:
    """Each change keeps the rest, and is audited."""
    cause = await failed(scene)
    failures, key = scene.client.failures, cause.fingerprint

    await failures.assign(key, "ann", namespace="hello", reason="on call")
    await failures.set_note(key, "asked the bank", namespace="hello")
    muted = await failures.mute(key, until=UNTIL, below="2.0.0", namespace="hello")

    assert ("ann", "asked the bank", UNTIL, "2.0.0") == (
        muted.assignee,
        muted.note,
        muted.muted_until,
        muted.muted_below,
    )
    (listed,) = await failures.list(AnalysisWindow(hours=1, namespace="hello"))
    assert (muted, True, "DECLINED", 1) == (listed.triage, listed.muted, listed.code, listed.tasks)
    kept = await failures.unmute(key, namespace="hello")
    assert ("ann", "asked the bank", None, None) == (
        kept.assignee,
        kept.note,
        kept.muted_until,
        kept.muted_below,
    )
    audit = await scene.client.namespace_audit("hello")
    reasons = [one.reason for one in audit if one.action == "change_failure_triage"]
    assert ["", "", "", "on call"] == reasons
    assert [] == await failures.list(AnalysisWindow(namespace="other"))


async def test_invalid_triage_is_refused(scene: Scene) -> None:
    """Nothing is stored."""
    failures, key = scene.client.failures, "0123456789abcdef"
    with pytest.raises(InvalidInput, match="16 hexadecimal digits"):
        await failures.assign("0123", "ann")
    with pytest.raises(InvalidInput, match="the time at which the mute ends"):
        await failures.mute(key)
    for refused in (
        failures.mute(key, below="two"),
        failures.mute(key, until=datetime(2099, 1, 1)),
        failures.assign(key, "ann", namespace="no such name!"),
        failures.assign(key, "a" * 201),
        failures.set_note(key, "a" * 4097),
        failures.set_note(key, "a\0"),
    ):
        with pytest.raises(InvalidInput):
            await refused
    assert [] == await scene.store.list_failure_triage([key])
