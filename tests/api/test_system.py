"""Health, metrics, workers, and figures over HTTP."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.api.api_client import ApiClient

from tasker.api import create_app
from tasker.observe.metrics import MOST_VALUES, Metrics
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


async def test_a_server_with_a_reachable_store_is_ready(api: ApiClient) -> None:
    for path in ("/ready", "/health/ready"):
        answer = await api.read(path)
        assert ("ready", True, []) == (answer["status"], answer["ready"], answer["failed_checks"])
        assert {"store", "schema"} == set(answer["checks"])
    assert "healthy" == (await api.read("/health"))["status"]
    for path in ("/live", "/health/live"):
        assert "alive" == (await api.read(path))["status"]


async def test_a_stopping_server_is_not_ready(memory: Store) -> None:
    """Load balancers then send no more requests."""
    import httpx

    app = create_app(memory)
    async with ApiClient(memory, transport=httpx.ASGITransport(app), base_url="http://t") as one:
        app.state.tasker.readiness.stopping = True
        answer = await one.read("/ready", 503)

    assert ("not_ready", ["server"]) == (answer["code"], answer["failed_checks"])


async def test_workers_list_what_they_can_run(api: ApiClient) -> None:
    assert {"workers": []} == await api.read("/v1/workers")

    async with api.worker() as worker:
        answer = (await api.read("/v1/workers"))["workers"]

    assert [(worker.name, True, 100)] == [
        (one["name"], one["alive"], one["slots"]) for one in answer
    ]
    assert "look_up" in answer[0]["handlers"]


async def samples(one: ApiClient) -> dict[tuple[str, ...], float]:
    """Read metrics: name and labels, sorted, -> value."""
    response = await one.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (
            sample.name,
            *sorted(f"{key}={value}" for key, value in sample.labels.items()),
        ): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_metrics_count_tasks_and_steps(memory: Store) -> None:
    """
    By namespace, template, step and outcome; by route and status; never by id.
    """
    import httpx

    metrics = Metrics()
    app = create_app(memory, metrics=metrics)
    async with ApiClient(memory, transport=httpx.ASGITransport(app), base_url="http://t") as one:
        first, second = await one.create(), await one.create("shop.broken")
        worker = one.worker()
        worker.observers.append(metrics.count_notice)
        async with worker:
            for task in (first, second):
                await one.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})
        await one.read("/v1/tasks/zzz", 400)
        text = (await one.get("/metrics")).text
        values = await samples(one)

    shop = ("namespace=shop", "template=refund")
    assert 1 == values["tasker_tasks_created_total", *shop]
    assert 1 == values["tasker_tasks_ended_total", shop[0], "status=complete", shop[1]]
    assert 1 == values["tasker_tasks_ended_total", shop[0], "status=error", "template=broken"]
    assert 1 == values["tasker_task_duration_seconds_count", *shop]
    pay = ("namespace=shop", "outcome=complete", "step=pay", "template=refund")
    assert 1 == values["tasker_attempts_total", *pay]
    assert 1 == values["tasker_attempt_duration_seconds_count", pay[0], pay[2], pay[3]]
    assert 0 == values["tasker_attempts_running",]
    posted = ("method=POST", "route=/v1/tasks", "status=201")
    assert 2 == values["tasker_http_requests_total", *posted]
    wrong = ("method=GET", "route=/v1/tasks/{task_id}", "status=400")
    assert 1 == values["tasker_http_requests_total", *wrong]
    assert 0 == values["tasker_queue_steps", "handler=pay", "namespace=shop", "state=due"]
    assert 0 == values["tasker_workers",]
    assert first["id"] not in text


async def test_the_number_of_labels_is_bounded() -> None:
    """Registering many templates does not create unbounded metrics."""
    metrics = Metrics()

    values = {metrics._label_value_or_other("template", f"t{no}") for no in range(MOST_VALUES + 10)}

    assert MOST_VALUES + 1 == len(values)
    assert "other" == metrics._label_value_or_other("template", "one more")
    assert "t0" == metrics._label_value_or_other("template", "t0")


async def test_unknown_paths_and_methods_share_one_label(one: ApiClient) -> None:
    for path in ("/a", "/b"):
        await one.request("BREW", path)

    values = await samples(one)
    labels = ("method=other", "route=unmatched", "status=404")
    assert 2 == values["tasker_http_requests_total", *labels]


async def test_figures_report_durations_and_failures(api: ApiClient) -> None:
    """They cover a window and a namespace, with recommendations."""
    tasks = [await api.create(), await api.create("shop.broken")]
    async with api.worker():
        for task in tasks:
            await api.read(f"/v1/tasks/{task['id']}/wait", params={"timeout": 20})

    performance = await api.read("/v1/analytics/performance", params={"hours": 1})
    bottlenecks = await api.read(
        "/v1/analytics/bottlenecks", params={"namespace": "shop", "min_executions": 1}
    )
    nothing = await api.read("/v1/analytics/performance", params={"namespace": "elsewhere"})

    assert (2, 1, 1, 50.0, 0.5) == (
        performance["total_tasks"],
        performance["completed_tasks"],
        performance["failed_tasks"],
        performance["completion_rate"],
        performance["system_health_score"],
    )
    assert performance["task_duration"]["average"] > 0
    assert "fail" == bottlenecks["failing_steps"][0]["step"]
    assert [("PermanentError", "LOCKED")] == [
        (one["error_type"], one["error_code"]) for one in bottlenecks["error_patterns"]
    ]
    assert 0 == nothing["total_tasks"]
