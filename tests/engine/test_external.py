"""External steps: their handler returns, and another system completes them."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.api.auth.scene import calling
from tests.engine.factories import SOON
from tests.http_service import Reply, serving

from tasker import (
    AsyncContext,
    HttpCall,
    LocalClient,
    Misuse,
    NamespacePolicy,
    PermanentError,
    Retry,
    RetryableError,
    StepSpec,
    StepStatus,
    SyncContext,
    Task,
    TaskStatus,
    Template,
    Worker,
    WorkerSettings,
    handler,
    open_store,
)
from tasker.completions import hash_token
from tasker.errors import TaskFailed
from tasker.model import ExternalSpec, TaskId, TimeoutAction
from tasker.store.protocol import AuditNote, Store

pytestmark = pytest.mark.anyio
BASE = "https://tasker.example.com"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:{tmp_path}/t.db") as opened:
        await opened.upgrade_schema()
        yield opened


def template(external: ExternalSpec | None = None, **fields: Any) -> Template:
    fields.setdefault("retry", Retry(max_attempts=2, initial_delay=0.01, max_delay=0.01))
    step = StepSpec(name="label", external=external or ExternalSpec(), **fields)
    return Template(namespace="shop", name="ship", version="1.0.0", steps=(step,))


def working(store: Store, target: Any, made: Template | None = None) -> Worker:
    settings = WorkerSettings(
        public_url=f"{BASE}/", http=True, http_networks=(ip_network("127.0.0.0/8"),)
    )
    return Worker(store, [{"label": target}], templates=[made or template()], settings=settings)


async def until(store: Store, task_id: TaskId, *statuses: StepStatus) -> None:
    while (await store.list_steps(task_id))[0].status not in statuses:
        import asyncio

        await asyncio.sleep(0.01)


async def complete(store: Store, url: str, body: Any) -> tuple[int, Any]:
    """Send a completion to a server, without a credential."""
    assert url.startswith(f"{BASE}/v1/complete/")
    async with calling(store) as caller:
        answer = await caller.post(url.removeprefix(BASE), json=body)
    return answer.status_code, answer.json().get("code")


async def ended(worker: Worker, task: Task) -> Task:
    """Return a task once it has ended in any way."""
    with suppress(TaskFailed):
        await worker.client.wait(task.id, timeout=SOON)
    return await worker.client.get(task.id)


@pytest.mark.parametrize("blocking", [False, True])
async def test_another_system_completes_an_external_step(store: Store, blocking: bool) -> None:
    """What the handler returned is the checkpoint, and the handler does not run again."""
    urls: list[str] = []

    def order(ctx: SyncContext) -> Any:
        urls.append(ctx.completion_url)
        return {"ordered": 1}

    async def order_async(ctx: AsyncContext) -> Any:
        return order(ctx)  # type: ignore[arg-type]

    async with working(store, order if blocking else order_async) as worker:
        task = await worker.client.create_task("shop.ship", {})
        await until(store, task.id, StepStatus.WAITING)
        (step,) = await store.list_steps(task.id)
        answers = [
            await complete(store, urls[0], {}),
            await complete(store, urls[0], {"result": 1, "error": "x"}),
            await complete(store, f"{BASE}/v1/complete/unknown", {"result": 1}),
            await complete(store, urls[0], {"result": {"label": "L1"}}),
            await complete(store, urls[0], {"result": {"label": "L2"}}),
        ]
        done = await ended(worker, task)
        answers.append(await complete(store, urls[0], {"result": 1}))

    assert {"ordered": 1} == step.checkpoint
    assert (TaskStatus.COMPLETE, {"label": "L1"}) == (done.status, done.result)
    assert 1 == len(urls)
    assert [
        (400, "invalid_input"),
        (400, "invalid_input"),
        (404, "not_found"),
        (200, None),
        (404, "not_found"),
        (404, "not_found"),
    ] == answers


async def test_a_completion_with_an_error_fails_the_step(store: Store) -> None:
    urls: list[str] = []

    async def order(ctx: AsyncContext) -> None:
        urls.append(ctx.completion_url)

    async with working(store, order) as worker:
        task = await worker.client.create_task("shop.ship", {})
        await until(store, task.id, StepStatus.WAITING)
        error = {"message": "no such address", "code": "ADDRESS", "details": {"zip": "0"}}
        assert (200, None) == await complete(store, urls[0], {"error": error})
        done = await ended(worker, task)

    assert done.failure is not None
    assert ("ADDRESS", "no such address") == (done.failure.code, done.failure.message)


async def test_a_completion_during_the_attempt_is_used(store: Store) -> None:
    """Although the attempt fails."""

    async def order(ctx: AsyncContext) -> None:
        token = ctx.completion_url.rpartition("/")[2]
        assert await store.complete_external_step(hash_token(token), json.dumps({"result": 5}))  # type: ignore[arg-type]
        raise RetryableError("the answer was lost")

    async with working(store, order) as worker:
        task = await worker.client.create_task("shop.ship", {})
        done = await ended(worker, task)

    assert 5 == done.result
    assert 1 == len(await store.list_attempts(task.id))


async def test_a_completion_before_the_settlement_of_the_last_failure_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accepted completion is the outcome of the step; the handler does not run again."""
    tokens: list[str] = []
    fail_external = store.fail_external_step_unless_completed

    async def fail_late(*arguments: Any) -> Any:
        assert await store.complete_external_step(hash_token(tokens[0]), json.dumps({"result": 5}))  # type: ignore[arg-type]
        return await fail_external(*arguments)

    monkeypatch.setattr(store, "fail_external_step_unless_completed", fail_late)

    async def order(ctx: AsyncContext) -> None:
        tokens.append(ctx.completion_url.rpartition("/")[2])
        raise PermanentError("no such address")

    async with working(store, order) as worker:
        task = await worker.client.create_task("shop.ship", {})
        done = await ended(worker, task)

    assert (5, 1) == (done.result, len(tokens))


async def test_a_failed_external_step_fails_its_task(store: Store) -> None:
    async def order(ctx: AsyncContext) -> None:
        raise PermanentError("no such address", code="ADDRESS")

    async with working(store, order) as worker:
        task = await worker.client.create_task("shop.ship", {})
        done = await ended(worker, task)

    assert done.failure is not None
    assert "ADDRESS" == done.failure.code


@pytest.mark.parametrize("completed", [True, False])
async def test_the_last_lost_attempt_fails_an_external_step_unless_it_was_completed(
    store: Store, completed: bool
) -> None:
    made = template(retry=Retry(retryable=False))
    client = LocalClient(store)
    await client.register(made)
    task = await client.create_task("shop.ship", {})
    dying = await store.register_worker("dying", lease=SOON, slots=1, handlers=[])
    await store.add_served_queues(dying, [queue.base for queue in await store.list_queues()])
    [claim] = (await store.claim(dying, 1)).claims
    await store.add_token_and_find_completion(claim, hash_token("token"))
    if completed:
        assert await store.complete_external_step(hash_token("token"), json.dumps({"result": 5}))  # type: ignore[arg-type]
    await store.retire_worker(dying)

    async with working(store, lambda: None, made) as worker:
        done = await ended(worker, task)

    assert (TaskStatus.COMPLETE if completed else TaskStatus.ERROR) is done.status


async def test_an_external_step_fails_or_continues_after_its_timeout(store: Store) -> None:
    async def order(ctx: AsyncContext) -> None:
        pass

    for action, status in (
        (TimeoutAction.FAIL, TaskStatus.ERROR),
        (TimeoutAction.CONTINUE, TaskStatus.COMPLETE),
    ):
        made = template(ExternalSpec(timeout=timedelta(milliseconds=10), on_timeout=action))
        worker = Worker(store, [{"label": order}], templates=[made], replace=True)
        async with worker:
            task = await worker.client.create_task("shop.ship", {})
            await until(store, task.id, StepStatus.WAITING)
            while not await store.end_timed_out_waits(10):
                if (await store.list_steps(task.id))[0].status is not StepStatus.WAITING:
                    break  # the janitor was faster
            done = await ended(worker, task)

        assert status is done.status
        if done.failure is not None:
            assert "wait_timeout" == done.failure.code


async def test_an_http_step_passes_its_completion_url_on(store: Store) -> None:
    with serving(lambda _: Reply(202)) as service:
        call = HttpCall(url=service.url, method="POST", body={"callback": "{completion_url}"})
        await store.put_policy(
            NamespacePolicy(namespace="shop", http_hosts=("*",)), AuditNote(actor="root")
        )
        async with working(store, lambda: None, template(http=call)) as worker:
            task = await worker.client.create_task("shop.ship", {})
            await until(store, task.id, StepStatus.WAITING)
            url = json.loads(service.requests[0].body)["callback"]
            assert (200, None) == await complete(store, url, {"result": "shipped"})
            done = await ended(worker, task)

    assert "shipped" == done.result


@handler(process=True)
def separate() -> None:
    """Run in a separate process."""


async def test_a_handler_in_a_process_cannot_be_external(store: Store) -> None:
    with pytest.raises(Misuse, match="process=False"):
        async with working(store, separate):
            pass


async def test_requests_from_one_address_are_limited(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasker.api.rate_limits import CallerRateLimits

    monkeypatch.setattr("tasker.api.routes.completions._limits", CallerRateLimits(0.001, 2))

    answers = [await complete(store, f"{BASE}/v1/complete/x", {"result": 1}) for _ in range(3)]

    assert [
        (404, "not_found"),
        (404, "not_found"),
        (429, "rate_limited"),
    ] == answers
