"""No route shows data of tasks to a caller who may not read it."""

import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.api.auth.scene import ACT, calling, key
from tests.api.auth.test_matrix import ROUTES, World, operate, put_operated, register_worker

from tasker import LocalClient, Schedule, open_store
from tasker.api.app import create_app
from tasker.approvals import NewApproval
from tasker.bulk import BulkAction
from tasker.client.masking import MaskingClient, SensitiveDataFinder
from tasker.codec import dumps, new_task_id
from tasker.durable import DurableCallKind
from tasker.masking import (
    CLOSED,
    DEFINITIONS,
    PAYLOADS,
    TEXTS,
    DataOwner,
    find_data_owners,
    mask_response,
)
from tasker.model import NewEvent, NewTask, TaskId, WaitKind, completed_outcome, failed_outcome
from tasker.schedules.model import NewSchedule
from tasker.sensitive_texts import MASKED
from tasker.step_logs import NewLogRecord
from tasker.store.protocol import Store
from tasker.teams.permissions import PAYLOADS_READ, PAYLOADS_REVEAL, PERMISSIONS
from tasker.template.load import template_from_document
from tasker.testing.store_suite.factories import ManualWorker
from tasker.waits import AwaitedArrival, NewWait

pytestmark = pytest.mark.anyio

SECRET = "tango-foxtrot-4711"
OWN = "payments"
REVEAL = "POST /v1/tasks/{task_id}/reveal payloads:reveal"


def refund(*, sensitive: bool) -> Any:
    """Return a template whose tasks hold the secret; its title shows it unless it is sensitive."""
    shown: dict[str, Any] = {
        "title": "Refund {input.card}",
        "attributes": {"card": "input.card"},
    }
    hidden: dict[str, Any] = {
        "sensitive": ["input.card", "input.cards.number", "results.check.token"]
    }
    return template_from_document(
        {
            "name": "refund",
            "namespace_name": OWN,
            "version": "1.0.0",
            "steps": [
                {"name": "check", "handler": {"callable": "check"}},
                {
                    "name": "pay",
                    "handler": {"callable": "pay"},
                    "dependencies": ["check"],
                    "retry": {"retryable": False},
                },
            ],
            **(hidden if sensitive else shown),
        }
    )


@asynccontextmanager
async def planted(*, sensitive: bool) -> AsyncIterator[World]:
    """Open a store with the secret in every place that can hold one."""
    async with open_store("sqlite::memory:") as store:
        await store.register_template(refund(sensitive=sensitive), registered_by="the tests")
        retirement = template_from_document(
            {
                "name": "check_retirement",
                "namespace_name": OWN,
                "version": "1.0.0",
                "steps": [{"name": "check", "handler": {"callable": "check"}}],
            }
        )
        await store.register_template(retirement, registered_by="the tests")
        client = LocalClient(store, actor="the tests")
        context: dict[str, Any] = {"card": SECRET, "cards": [{"number": SECRET}], "other": 1}
        schedule = Schedule(name="refund", every="1h", context=context)
        await store.create_schedule(
            NewSchedule(namespace=OWN, template="refund", version="", schedule=schedule), ACT
        )
        await put_operated(store, OWN, "refund")
        task = await client.create_task(f"{OWN}.refund", context, correlation_id="refund")
        manual_worker = await ManualWorker.register(store)
        await _fail(store, manual_worker, task.id)
        await store.distribute_events()
        (delivery, *_) = await store.list_deliveries(OWN, "refund")
        await _add_child(store, task.id)
        approval = await _ask(store, manual_worker, task.id)
        worker = await register_worker(store, OWN)
        deliveries = {OWN: str(delivery.id)}
        bulk_id = await operate(store, BulkAction.RETRY, OWN)
        operations = defaultdict[tuple[str, str], str](lambda: bulk_id)
        yield World(
            store, {OWN: task.id}, {OWN: approval}, deliveries, {OWN: worker}, operations, []
        )


async def _fail(store: Store, manual_worker: ManualWorker, task_id: TaskId) -> None:
    """Complete the first step with the secret and an event, and fail the second with it."""
    (check,) = await manual_worker.claim()
    text, fields = f"got {SECRET}", dumps({"card": SECRET})
    logged = NewLogRecord(task_id, check.no, 1, 0, time.time(), 20, "stdout", text, fields)
    await store.append_logs([logged])
    await store.store_checkpoint(check, dumps({"seen": SECRET}))
    stored = await store.get_template(refund(sensitive=False).key)
    event = NewEvent(0, stored.id, "check", task_id, "payment.charged", dumps({"x": SECRET}), 0.0)
    result = dumps({"token": SECRET, "ok": True})
    await store.settle(manual_worker.id, [completed_outcome(check, result)], events=[event])
    (pay,) = await manual_worker.claim()
    error = {
        "type": "CardError",
        "message": f"the card {SECRET} expired",
        "code": "EXPIRED",
        "trace": f"line 1\n{SECRET}",
        "details": {"card": SECRET},
    }
    await store.settle(manual_worker.id, [failed_outcome(pay, dumps(error))])


async def _add_child(store: Store, parent: TaskId) -> None:
    """Create a child task of another template that was given the secret."""
    stored = await store.get_template(refund(sensitive=False).key._replace(name="check_retirement"))
    await store.create_tasks(
        [
            NewTask(
                id=new_task_id(),
                template_id=stored.id,
                context=dumps({"note": f"card {SECRET}"}),
                correlation_id="child",
                created_by="the tests",
                parent_id=parent,
            )
        ]
    )


async def _ask(store: Store, manual_worker: ManualWorker, parent: TaskId) -> str:
    """Let the child's step wait for an approval whose form shows the secret; decide another."""
    (claim,) = await manual_worker.claim()
    form = {
        "type": "object",
        "title": f"Refund to {SECRET}",
        "properties": {"card": {"type": "string", "default": SECRET}},
    }
    assert await store.park_for_arrival(claim, _wait("first", form))
    (first,) = await store.list_open_approvals(task_id=claim.task_id)
    await store.decide_approval(first.id, dumps({"card": SECRET}), groups=["*"], act=ACT)
    (claim,) = await manual_worker.claim()
    assert await store.park_for_arrival(claim, _wait("second", form))
    (second,) = await store.list_open_approvals(task_id=claim.task_id)
    return second.id


def _wait(call: str, form: Any) -> NewWait:
    approval = NewApproval(new_task_id(), dumps(form), [])
    awaited = AwaitedArrival(WaitKind.APPROVAL, call, namespace=OWN)
    return NewWait(call, DurableCallKind.WAIT_APPROVAL, [awaited], None, approval=approval)


async def shows_secret(world: World, credential: str) -> set[str]:
    """Call all routes, those that change something last, and return those that show the secret."""
    showing = set()
    async with calling(world.store, credential) as caller:
        for route in sorted(ROUTES, key=lambda route: route.method != "GET"):
            answer = await world.ask(caller, route, OWN)
            assert answer.status_code not in (400, 422, 500), (str(route), answer.text)
            if SECRET in answer.text or SECRET in str(answer.headers):
                showing.add(str(route))
    return showing


async def credential(store: Store, *without: Any) -> str:
    """Return a key with all permissions but some."""
    permissions = [str(each) for each in PERMISSIONS - set(without)]
    return await key(store, permissions=permissions, namespaces=["*"])


async def test_no_route_shows_payloads_without_the_permission_to_read_them() -> None:
    async with planted(sensitive=False) as world:
        viewer = await credential(world.store, PAYLOADS_READ, PAYLOADS_REVEAL)
        assert await shows_secret(world, viewer) == set()


async def test_no_route_shows_sensitive_data_even_with_all_permissions() -> None:
    async with planted(sensitive=True) as world:
        assert await shows_secret(world, await credential(world.store)) == {REVEAL}


async def test_the_secret_is_in_the_answers_that_can_hold_one() -> None:
    """Otherwise the tests above could not fail."""
    async with planted(sensitive=False) as world:
        showing = await shows_secret(world, await credential(world.store))

    assert showing >= {
        REVEAL,
        "GET /v1/tasks tasks:list",
        "GET /v1/tasks/{task_id} tasks:read",
        "GET /v1/tasks/{task_id}/attempts tasks:read",
        "GET /v1/tasks/{task_id}/logs steps:read",
        "GET /v1/tasks/{task_id}/snapshot tasks:read",
        "GET /v1/tasks/{task_id}/steps steps:read",
        "GET /v1/tasks/{task_id}/stream tasks:read",
        "GET /v1/tasks/{task_id}/why tasks:read",
        "GET /v1/approvals approvals:read",
        "GET /v1/audit namespaces:read",
        "GET /v1/events events:read",
        "GET /v1/failures system:analytics_read",
        "GET /v1/schedules schedules:read",
        "GET /v1/search tasks:list",
    }


async def test_a_reveal_is_audited_with_its_reason() -> None:
    async with planted(sensitive=True) as world:
        path = f"/v1/tasks/{world.tasks[OWN]}"
        admin, operator = await credential(world.store), await key(world.store, "operator")
        async with calling(world.store, operator) as caller:
            refused = await caller.post(f"{path}/reveal", json={"reason": "curious"})
        async with calling(world.store, admin) as caller:
            unexplained = await caller.post(f"{path}/reveal", json={"reason": " "})
            one = await caller.post(f"{path}/reveal", json={"reason": "a complaint", "step": "pay"})
            entries = (await caller.get(f"{path}/audit")).json()

    assert (403, "payloads:reveal") == (refused.status_code, refused.json()["permission"])
    assert 400 == unexplained.status_code
    assert [SECRET, ["pay"]] == [
        one.json()["context"]["card"],
        [step["name"] for step in one.json()["steps"]],
    ]
    assert [("reveal", "pay", "a complaint", "api")] == [
        (entry["action"], entry["step"], entry["reason"], entry["via"]) for entry in entries
    ]


async def test_masked_data_keeps_its_shape() -> None:
    async with planted(sensitive=True) as world:
        masked = {"masked": True, "type": "string"}
        shown, whole = {}, {"masked": True, "type": "number"}
        for role in ("viewer", "operator"):
            async with calling(world.store, await key(world.store, role)) as caller:
                task = (await caller.get(f"/v1/tasks/{world.tasks[OWN]}")).json()
                shown[role] = task["context"], task["failure"]["message"], task["failure"]["code"]

    assert {
        "viewer": (
            {"card": masked, "cards": [{"number": masked}], "other": whole},
            "[masked]",
            "EXPIRED",
        ),
        "operator": (
            {"card": masked, "cards": [{"number": masked}], "other": 1},
            "the card [masked] expired",
            "EXPIRED",
        ),
    } == shown


async def test_filters_by_attributes_require_the_permission_to_read_payloads() -> None:
    async with planted(sensitive=False) as world:
        matches = {}
        for role in ("viewer", "operator"):
            async with calling(world.store, await key(world.store, role)) as caller:
                query = f"?attribute=card={SECRET}"
                tasks = (await caller.get(f"/v1/tasks{query}")).json()["tasks"]
                counts = (await caller.get(f"/v1/tasks/counts{query}")).json()["by_status"]
                matches[role] = len(tasks), sum(counts.values())

    assert {"viewer": (0, 0), "operator": (1, 1)} == matches


@pytest.mark.parametrize(
    ("sensitive", "role", "matches"),
    [
        (False, "operator", {SECRET: 1, "GOT ": 1, "no such": 0}),
        (False, "viewer", {SECRET: 0, "GOT ": 0, "no such": 0}),
        (True, "operator", {SECRET: 0, "GOT ": 1, "no such": 0}),
    ],
)
async def test_texts_are_searched_in_logs_as_the_caller_is_shown_them(
    sensitive: bool, role: str, matches: dict[str, int]
) -> None:
    """Otherwise the secret could be found letter by letter; so it could by the next page."""
    async with planted(sensitive=sensitive) as world:
        path = f"/v1/tasks/{world.tasks[OWN]}/logs"
        async with calling(world.store, await key(world.store, role)) as caller:
            pages = {
                text: (await caller.get(path, params={"text": text, "limit": 1})).json()
                for text in matches
            }

    assert matches == {text: len(page["records"]) for text, page in pages.items()}
    if matches[SECRET] == 0:
        assert pages[SECRET]["next_cursor"] == pages["no such"]["next_cursor"]


async def test_sensitive_values_are_masked_however_errors_and_logs_quote_them() -> None:
    """With escapes as in Python, and a printed value line by line."""
    card = "number 4711\nholder 'Ann'"
    async with open_store("sqlite::memory:") as store:
        await store.register_template(refund(sensitive=True), registered_by="the tests")
        task = await LocalClient(store).create_task(f"{OWN}.refund", {"card": card})
        manual_worker = await ManualWorker.register(store)
        (check,) = await manual_worker.claim()
        lines = [
            NewLogRecord(task.id, check.no, 1, number, time.time(), 20, "stdout", line, None)
            for number, line in enumerate(card.splitlines())
        ]
        await store.append_logs(lines)
        await store.settle(manual_worker.id, [completed_outcome(check, dumps({}))])
        (pay,) = await manual_worker.claim()
        error = {"type": "KeyError", "message": str(KeyError(card)), "trace": f"{card!r}"}
        await store.settle(manual_worker.id, [failed_outcome(pay, dumps(error))])
        path = f"/v1/tasks/{task.id}"
        async with calling(store, await credential(store)) as caller:
            parts = "", "/attempts", "/logs", "/why", "/snapshot", "/steps/pay"
            shown = [(await caller.get(f"{path}{part}")).text for part in parts]
            matching = (await caller.get(f"{path}/logs", params={"text": "holder"})).json()

    assert [] == [text for text in shown if "4711" in text or "Ann" in text]
    assert all("[masked]" in text for text in shown)
    assert [] == matching["records"]


async def test_a_task_with_too_many_sensitive_values_shows_no_data() -> None:
    """Texts are not searched for all of them."""
    numbers = [{"number": f"card-{number}"} for number in range(10_001)]
    async with open_store("sqlite::memory:") as store:
        await store.register_template(refund(sensitive=True), registered_by="the tests")
        client = LocalClient(store)
        made = [
            await client.create_task(f"{OWN}.refund", {"cards": cards, "other": 1})
            for cards in (numbers[1:], numbers)
        ]
        async with calling(store, await credential(store)) as caller:
            shown = [(await caller.get(f"/v1/tasks/{task.id}")).json() for task in made]

    assert [1, {"masked": True, "type": "number"}] == [task["context"]["other"] for task in shown]


async def test_the_command_line_masks_what_it_reads_from_a_store() -> None:
    async with planted(sensitive=True) as world:
        client = LocalClient(world.store)
        masking: Any = MaskingClient(
            client, SensitiveDataFinder(world.store, client.template_cache)
        )
        task_id = world.tasks[OWN]
        shown = [
            await masking.get(task_id),
            await masking.steps(task_id),
            await masking.attempts(task_id),
            await masking.why(task_id),
            await masking.events(),
            await masking.approvals(),
            await masking.schedules.list(),
        ]

        assert SECRET not in repr(shown)
        assert SECRET in repr(await masking.reveal(task_id, reason="a complaint"))


def test_every_property_that_holds_any_json_is_classified() -> None:
    """A new property must be masked or listed here with a reason."""
    harmless = {
        "before",  # of changes; what is in it is masked by its own names
        "after",
        "error",  # masked but for its type and code
        "form",  # masked but for its structure
        "checks",  # of the server's health
        "labels",  # of workers
        "permissions",
        "steps",  # their usual durations, by name
    }
    schemas = create_app("sqlite::memory:").openapi()["components"]["schemas"]
    answers = {name: part for name, part in schemas.items() if not name.endswith("Body")}
    free = {
        property_
        for schema in answers.values()
        for property_, part in schema.get("properties", {}).items()
        if _is_free(part)
    }

    assert set() == free - PAYLOADS - DEFINITIONS - TEXTS - harmless


def _is_free(schema: Any) -> bool:
    """Return whether a schema takes any JSON, or any object whose values are not numbers."""
    if not set(schema) - {"title", "description", "default"}:
        return True
    if schema.get("type") == "object" and "properties" not in schema:
        values = schema.get("additionalProperties")
        return not isinstance(values, dict) or values.get("type") != "integer"
    return any(map(_is_free, schema.get("anyOf", ())))


@dataclass
class Unresolved:
    """A part of a response whose types only type checkers know."""

    parts: "tuple[Unknown, ...]"  # type: ignore[name-defined]  # noqa: F821
    context: "Unknown"  # type: ignore[name-defined]  # noqa: F821


def test_data_in_members_of_unresolvable_types_is_masked() -> None:
    part = Unresolved(parts=({"message": SECRET},), context=SECRET)

    owners = set(find_data_owners(part, DataOwner()))

    shown = mask_response(part, dict.fromkeys(owners, CLOSED), DataOwner())
    assert ({"message": MASKED},) == shown.parts
    assert {"masked": True, "type": "string"} == shown.context
