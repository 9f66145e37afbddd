"""The routes of the worker protocol, over either store."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient
from tests.api.conftest import client_of
from tests.remote.remote_worker import HANDLERS, ManualRemoteWorker

from tasker.api.app import create_app
from tasker.model import StepSpec, TaskConcurrency, Template
from tasker.remote import registered
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


async def test_a_chain_takes_one_request_per_step(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    task = await api.create(context={"order": "o-1", "amount": 5})

    step = await worker.claim_one()
    assert ("look_up", "look_up", 1, {"order": "o-1", "amount": 5}, {}) == (
        step["step"],
        step["handler"],
        step["attempt"],
        step["context"],
        step["results"],
    )
    assert f"{task['id']}:look_up" == step["idempotency_key"]
    freed = await worker.complete(step, {"customer": "Ann"}, most=5)
    assert ["complete"] == freed["settled"]
    assert {"pay", "tell"} == {each["step"] for each in freed["steps"]}
    assert all({"look_up": {"customer": "Ann"}} == each["results"] for each in freed["steps"])
    joined = await worker.settle(
        *(
            {"ticket": each["ticket"], "outcome": "complete", "result": each["step"]}
            for each in freed["steps"]
        ),
        most=1,
    )
    [close] = joined["steps"]
    assert {"look_up": {"customer": "Ann"}, "pay": "pay", "tell": "tell"} == close["results"]
    await worker.complete(close, 1e-7)

    ended = await api.read(f"/v1/tasks/{task['id']}")
    assert ("complete", 1e-7) == (ended["status"], ended["result"])


async def test_a_claim_waits_for_a_step(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    assert [] == await worker.claim(wait_s=0)

    waiting = asyncio.create_task(worker.claim(wait_s=20))
    await asyncio.sleep(0)
    await api.create()

    [step] = await waiting
    assert "look_up" == step["step"]


async def test_a_server_that_shuts_down_leaves_the_delay_to_workers(store: Store) -> None:
    """Without `Retry-After`, their delays begin at 0.1 s."""
    app = create_app(store)
    async with ApiClient(store, transport=httpx.ASGITransport(app), base_url="http://t") as api:
        worker = await ManualRemoteWorker.register(api)
        app.state.tasker.closing.set()

        refused = await api.post(f"/v1/workers/{worker.id}/claim", json={"max": 1, "wait_s": 0})

        assert "draining" == api.json_of(refused, 503)["code"]
        assert "retry-after" not in refused.headers


async def test_the_server_decides_on_retries(api: ApiClient, store: Store) -> None:
    steps = (StepSpec(name="pay"),)
    template = Template(namespace="shop", name="one", version="1.0.0", steps=steps)
    await store.register_template(template, registered_by="tests")
    worker = await ManualRemoteWorker.register(api)
    task = await api.create("shop.one")

    step = await worker.claim_one()
    again = await worker.fail(step, code="DOWN", retry_after_s=0, trace="at line 1")
    assert ["retry"] == again["settled"]
    step = await worker.claim_one()
    assert (2, 2, 3) == (step["attempt"], step["counted_attempts"], step["max_attempts"])
    ended = await worker.fail(step, code="GONE", retryable=False)
    assert ["error"] == ended["settled"]

    failed = await api.read(f"/v1/tasks/{task['id']}")
    assert ("error", "GONE") == (failed["status"], failed["failure"]["code"])


async def test_the_end_of_a_task_starts_one_that_waited_for_it(
    api: ApiClient, store: Store
) -> None:
    template = Template(
        namespace="shop",
        name="one",
        version="1.0.0",
        steps=(StepSpec(name="pay"),),
        concurrency=TaskConcurrency(key="all", tasks=1),
    )
    await store.register_template(template, registered_by="tests")
    worker = await ManualRemoteWorker.register(api)
    first, second = [await api.create("shop.one") for _ in range(2)]
    step = await worker.claim_one()

    await worker.complete(step, None)

    assert first["id"] == step["task_id"]
    assert second["id"] == (await worker.claim_one())["task_id"]


async def test_an_invalid_outcome_does_not_affect_its_batch(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    for _ in range(4):
        await api.create()
    good, large, unknown, forged = await worker.claim()

    settled = await worker.settle(
        {"ticket": large["ticket"], "outcome": "complete", "result": "x" * (1 << 20)},
        {"ticket": unknown["ticket"], "outcome": "done"},
        {"ticket": forged["ticket"][:-4] + "AAAA", "outcome": "complete"},
        {"ticket": good["ticket"], "outcome": "complete"},
    )

    assert ["error", "error", "invalid", "complete"] == settled["settled"]
    codes = {index: problem["code"] for index, problem in settled["problems"].items()}
    assert {"0": "too_large", "1": "invalid_request", "2": "invalid_ticket"} == codes


async def test_values_too_deep_for_an_answer_are_refused(api: ApiClient) -> None:
    """Answers and lists put objects around a value; a deeper one would break all of them."""
    deep: Any = []
    for _ in range(249):
        deep = [deep]
    worker = await ManualRemoteWorker.register(api)
    task = await api.create()
    step = await worker.claim_one()

    settled = await worker.complete(step, deep)

    assert ["error"] == settled["settled"]
    assert "error" == (await api.read(f"/v1/tasks/{task['id']}"))["status"]
    assert 200 == (await api.get("/v1/tasks")).status_code


@pytest.mark.parametrize(
    "wait_for",
    [{"task": "not-a-uuid"}, {"until": "0001-01-01T00:00:00+14:00", "call": "y"}],
)
async def test_an_impossible_wait_fails_only_its_attempt(
    api: ApiClient, wait_for: dict[str, Any]
) -> None:
    worker = await ManualRemoteWorker.register(api)
    for _ in range(2):
        await api.create()
    good, bad = await worker.claim()

    settled = await worker.settle(
        {"ticket": bad["ticket"], "outcome": "parked", "wait_for": wait_for},
        {"ticket": good["ticket"], "outcome": "complete"},
    )

    assert ["error", "complete"] == settled["settled"]


async def test_an_attempt_that_is_over_does_not_affect_its_batch(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    for _ in range(2):
        await api.create()
    good, over = await worker.claim()
    await api.call(f"/v1/tasks/{over['task_id']}/cancel")

    settled = await worker.settle(
        {
            "ticket": over["ticket"],
            "outcome": "parked",
            "wait_for": {"delay_s": 60, "call": "sleep-1"},
        },
        {"ticket": good["ticket"], "outcome": "complete"},
    )

    assert ["refused", "complete"] == settled["settled"]


async def test_a_settlement_sent_twice_is_refused_the_second_time(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()

    assert ["complete"] == (await worker.complete(step))["settled"]
    assert ["refused"] == (await worker.complete(step))["settled"]


async def test_no_worker_settles_the_claims_of_another(api: ApiClient) -> None:
    worker, other = await ManualRemoteWorker.register(api), await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()

    assert ["invalid"] == (await other.complete(step))["settled"]
    refused = await other.call("checkpoint", 403, ticket=step["ticket"], value=1)
    assert "invalid_ticket" == refused["code"]
    assert ["complete"] == (await worker.complete(step))["settled"]


async def test_resume_lists_the_claims_whose_response_was_lost(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()
    await worker.complete(step, 7, most=10)  # whose answer is lost

    resumed = await worker.call("resume", held=[step["ticket"]])

    assert {"pay", "tell"} == {each["step"] for each in resumed["steps"]}
    assert [step["ticket"]] == resumed["cancelled"]
    assert all({"look_up": 7} == each["results"] for each in resumed["steps"])


async def test_a_cancelled_task_ends_a_waiting_renewal(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    task = await api.create()
    step = await worker.claim_one()

    renewing = asyncio.create_task(worker.call("renew", held=[step["ticket"]], wait_s=10))
    await asyncio.sleep(0)
    await api.call(f"/v1/tasks/{task['id']}/cancel")

    assert [step["ticket"]] == (await renewing)["cancelled"]
    refused = await worker.call("checkpoint", 409, ticket=step["ticket"], value=1)
    assert "attempt_cancelled" == refused["code"]


async def test_a_retired_worker_releases_its_steps(api: ApiClient) -> None:
    worker, other = await ManualRemoteWorker.register(api), await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()

    response = await api.delete(f"/v1/workers/{worker.id}")

    assert 204 == response.status_code
    again = await other.claim_one()
    assert (step["task_id"], 2, 1) == (
        again["task_id"],
        again["attempt"],
        again["counted_attempts"],
    )
    assert "lease_lost" == (await worker.call("claim", 409, max=1))["code"]


async def test_a_worker_gets_no_more_steps_than_it_may_claim_ahead(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered, "MOST_AHEAD", 2)
    worker = await ManualRemoteWorker.register(api, slots=1)
    for _ in range(5):
        await api.create()
    steps = await worker.claim()
    more = await worker.claim(wait_s=0)
    await worker.complete(steps[0])
    freed = await worker.claim(wait_s=0)

    assert (3, 0, 1) == (len(steps), len(more), len(freed))


async def test_steps_settled_at_another_server_leave_room(
    api: ApiClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registered, "MOST_AHEAD", 2)
    worker = await ManualRemoteWorker.register(api, slots=1)
    for _ in range(5):
        await api.create()
    steps = await worker.claim()
    async with client_of(store) as other:
        there = ManualRemoteWorker(other, worker.registered)
        for step in steps:
            await there.complete(step)
    more = await worker.claim()

    assert (3, 3) == (len(steps), len(more))


async def test_a_checkpoint_reaches_the_next_attempt(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()
    await worker.call("checkpoint", 204, ticket=step["ticket"], value={"row": 3})
    await worker.settle({"ticket": step["ticket"], "outcome": "released"})

    step = await worker.claim_one()
    assert {"row": 3} == step["checkpoint"]
    await worker.settle({"ticket": step["ticket"], "outcome": "yielded", "checkpoint": {"row": 5}})
    assert {"row": 5} == (await worker.claim_one())["checkpoint"]


async def test_a_durable_call_is_read_by_the_next_attempt(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()
    call = {"ticket": step["ticket"], "call": "charge", "value": {"id": 1}}
    await worker.call("once", 204, **call)
    await worker.call("once", 204, **call)  # a repetition
    conflict = await worker.call("once", 409, **{**call, "value": 2})
    assert "durable_call_conflict" == conflict["code"]
    await worker.settle({"ticket": step["ticket"], "outcome": "released"})

    step = await worker.claim_one()

    calls = (await worker.call("calls", ticket=step["ticket"]))["calls"]
    assert [{"name": "charge", "kind": "once", "value": {"id": 1}, "remaining_s": 0.0}] == calls


@pytest.mark.parametrize(
    "wait_for",
    [
        {"signal": {"name": "paid"}, "call": "wait_signal-1"},
        {"any": [{"name": "void"}, {"name": "paid"}], "call": "wait_signal-1"},
    ],
)
async def test_a_parked_step_runs_again_when_its_signal_arrives(
    api: ApiClient, wait_for: dict[str, Any]
) -> None:
    worker = await ManualRemoteWorker.register(api)
    task = await api.create()
    step = await worker.claim_one()
    parked = await worker.settle(
        {"ticket": step["ticket"], "outcome": "parked", "wait_for": wait_for}
    )
    assert ["parked"] == parked["settled"]
    await api.call(
        f"/v1/tasks/{task['id']}/signals", {"name": "paid", "payload": {"cents": 5}}, 201
    )

    step = await worker.claim_one()

    [call] = (await worker.call("calls", ticket=step["ticket"]))["calls"]
    assert ("wait_signal-1", {"cents": 5}) == (call["name"], call["value"]["payload"])
    assert 1 == step["counted_attempts"]


async def test_a_sleep_ends_at_its_recorded_time(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()
    sleep = {"delay_s": 0.01, "call": "sleep-1"}
    await worker.settle({"ticket": step["ticket"], "outcome": "parked", "wait_for": sleep})

    step = await worker.claim_one()

    [call] = (await worker.call("calls", ticket=step["ticket"]))["calls"]
    assert ("sleep", 0.0) == (call["kind"], call["remaining_s"])


async def test_a_step_waits_for_the_task_that_it_runs(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api, ["look_up", "fail"])
    await api.create()
    step = await worker.claim_one()
    run: Any = {"call": "run_task-1", "template": "shop.broken", "context": {}}
    child = await worker.call("run_task", ticket=step["ticket"], **run)
    assert "in_progress" == child["status"]
    wait_for = {"task": child["task_id"]}
    await worker.settle({"ticket": step["ticket"], "outcome": "parked", "wait_for": wait_for})
    inner = await worker.claim_one()
    assert ("fail", step["task_id"]) == (inner["step"], inner["parent_id"])
    await worker.fail(inner, retryable=False)

    step = await worker.claim_one()

    ended = await worker.call("run_task", ticket=step["ticket"], **run)
    assert ("error", "task_failed") == (ended["status"], ended["error"]["code"])
    assert child["task_id"] == ended["task_id"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"protocol": 2}, "protocol_unsupported"),
        ({"namespaces": []}, "invalid_request"),
        ({"slots": 0}, "invalid_request"),
        ({"handlers": []}, "invalid_request"),
        ({"handlers": [{"name": "x", "needs": "some"}]}, "invalid_request"),
    ],
)
async def test_an_invalid_registration_is_refused(
    api: ApiClient, fields: dict[str, Any], code: str
) -> None:
    body = {
        "protocol": 1,
        "name": "w",
        "slots": 1,
        "namespaces": ["shop"],
        "handlers": [{"name": "x"}],
    }

    refused = await api.call("/v1/workers", {**body, **fields}, 400)

    assert code == refused["code"]


async def test_handlers_that_no_template_calls_are_reported(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api, ["look_up", "nobody.calls"], unknown_field=1)

    assert ["nobody.calls"] == worker.registered["unserved"]
    assert 1 == worker.registered["queues"]


async def test_an_unknown_worker_is_told_to_register(api: ApiClient) -> None:
    refused = await api.call("/v1/workers/4711/claim", {"max": 1}, 404)

    assert "unknown_worker" == refused["code"]


async def test_a_handler_receives_the_results_that_it_needs(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(
        api,
        [
            "look_up",
            {"name": "pay", "needs": "none"},
            "tell",
            {"name": "close", "needs": "parents"},
        ],
    )
    await api.create()
    freed = await worker.complete(await worker.claim_one(), 1, most=2)
    results = {each["step"]: each["results"] for each in freed["steps"]}
    assert {"pay": {}, "tell": {"look_up": 1}} == results
    for each in freed["steps"]:
        freed = await worker.complete(each, 2, most=1)

    assert {"pay": 2, "tell": 2} == freed["steps"][0]["results"]


async def test_a_large_payload_is_read_separately(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    for n in range(7):
        await api.create(context={"order": f"{n}" + "x" * 900_000})

    steps = await worker.claim()

    whole = [step for step in steps if "payload" not in step]
    apart = [step for step in steps if "payload" in step]
    assert (4, 3) == (len(whole), len(apart))
    assert "context" not in apart[0]
    payload = await worker.call("payload", ticket=apart[0]["ticket"])
    assert 900_001 == len(payload["context"]["order"])


async def test_waiting_for_a_missing_task_is_refused(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    step = await worker.claim_one()

    parked = await worker.settle(
        {"ticket": step["ticket"], "outcome": "parked", "wait_for": {"task": UNKNOWN_TASK}}
    )

    assert parked["settled"][0] in ("parked", "error")


async def test_attempts_of_remote_workers_are_in_the_metrics(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api)
    await api.create()
    first = await worker.claim_one()
    await worker.fail(first, retryable=True, retry_after_s=0)
    again = await worker.claim_one()
    await worker.settle(
        {"ticket": again["ticket"], "outcome": "parked", "wait_for": {"delay_s": 0.001}}
    )
    last = await worker.claim_one()
    await worker.complete(last)
    await worker.complete(last)  # a repetition counts once

    text = (await api.get("/metrics")).text
    step = f'namespace="shop",step="{first["step"]}",template="refund"'
    for outcome in ("retry", "parked", "complete"):
        assert f'tasker_attempts_total{{namespace="shop",outcome="{outcome}",' in text
    assert f"tasker_attempt_duration_seconds_count{{{step}}} 2.0" in text
    assert 'tasker_attempt_queued_seconds_count{namespace="shop",template="refund"} 3.0' in text
    assert "tasker_attempts_running 0.0" in text


async def test_the_audit_log_has_registrations_and_ends_of_remote_workers(api: ApiClient) -> None:
    worker = await ManualRemoteWorker.register(api, sdk="ruby/1.0.0")
    assert 204 == (await api.delete(f"/v1/workers/{worker.id}")).status_code

    retired, registered = await api.store.list_team_audit(limit=2)
    assert ("retire_worker", f"worker {worker.id}") == (retired.action, retired.subject)
    assert ("register_worker", f"worker {worker.id}") == (registered.action, registered.subject)
    assert ("anonymous", "api") == (registered.actor, registered.via)
    facts = {"name": "w", "sdk": "ruby/1.0.0", "build": "", "handlers": [*HANDLERS]}
    assert facts == registered.after


async def test_log_records_and_progress_of_an_attempt_are_kept(api: ApiClient) -> None:
    """Once, while the attempt holds its claim."""
    worker = await ManualRemoteWorker.register(api)
    task = await api.create()
    step = await worker.claim_one()
    at = "2030-01-31T12:00:00Z"
    line = {"number": 0, "at": at, "level": "warning", "message": "slow", "fields": {"ms": 7}}

    for _ in range(2):
        await worker.call("logs", 204, ticket=step["ticket"], lines=[line])
    progress = {"number": 1, "fraction": 0.4, "message": "page 12"}
    await worker.call("progress", 204, ticket=step["ticket"], **progress)
    secret = {"number": 2, "at": at, "message": "to https://u:pw@shop/", "fields": {"api_key": "k"}}
    await worker.call("logs", 204, ticket=step["ticket"], lines=[secret])
    invalid = await worker.call("progress", 400, ticket=step["ticket"], number=3, fraction=2)
    wrong = await worker.call("logs", 400, ticket=step["ticket"], lines=[{**line, "level": "loud"}])
    await worker.complete(step)
    late = await worker.call("logs", 409, ticket=step["ticket"], lines=[{**line, "number": 3}])

    kept = {each.number: each for each in await api.store.list_logs(task["id"])}
    assert {0, 1, 2} == set(kept)
    assert ("to https://u:***@shop/", {"api_key": "***"}) == (kept[2].message, kept[2].fields)
    assert ("warning", "slow", {"ms": 7}) == (kept[0].level, kept[0].message, kept[0].fields)
    assert ("progress", "page 12", {"fraction": 0.4}) == (
        kept[1].source,
        kept[1].message,
        kept[1].fields,
    )
    assert ("$.fraction", "$.level") == (
        invalid["errors"][0]["path"],
        wrong["errors"][0]["path"],
    )
    assert "attempt_cancelled" == late["code"]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({f"label-{number}": "x" for number in range(51)}, "at most 50 entries, found 51"),
        ({"zone": "x" * 256}, "'zone' must have a name of 1 to 255 characters"),
        ({"z" * 256: "x"}, "must have a name of 1 to 255 characters"),
        ({"": "x"}, "must have a name of 1 to 255 characters"),
        ({"zone": 1}, "a string of at most 255 characters"),
        ({"zone": "a\0"}, "contains a NUL character"),
    ],
)
async def test_labels_of_a_worker_are_bounded(
    api: ApiClient, labels: dict[str, Any], says: str
) -> None:
    body = {"protocol": 1, "name": "w", "slots": 1, "namespaces": ["shop"]}
    handlers = [{"name": "pay"}]

    refused = await api.call("/v1/workers", {**body, "handlers": handlers, "labels": labels}, 400)

    assert "invalid_request" == refused["code"]
    assert says in refused["detail"]


async def test_a_worker_may_have_fifty_labels(api: ApiClient) -> None:
    await ManualRemoteWorker.register(
        api, labels={f"{number}" * 10: "x" * 255 for number in range(50)}
    )
