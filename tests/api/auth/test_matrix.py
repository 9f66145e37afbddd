"""Every route x role x namespace, from the application's own table of routes.

A route that is added declares its permission, and is tried here without further ado; what
reads a body, or has parts in its path that are new, needs a sample in `SAMPLES`.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from tests.api.auth.scene import (
    ACT,
    UNKNOWN_TASK,
    begin,
    client_of,
    key,
    register,
    rsa_key,
    template,
    token,
    with_tokens,
)

from tasker import Schedule, ScheduleExists, WebhookExists, open_store
from tasker.api import create_app
from tasker.bulk import BulkAction
from tasker.client import LocalClient
from tasker.codec import dumps
from tasker.events import new_webhook
from tasker.hooks import HookMessageKind, ProviderHook, SignatureScheme
from tasker.model import (
    LimitKey,
    LimitValues,
    NewEvent,
    TaskFilter,
    TaskId,
    WorkerId,
    completed_outcome,
)
from tasker.remote.registration import PROTOCOL, RemoteRegistration
from tasker.schedules.model import NewSchedule
from tasker.settings import AuthSettings
from tasker.store.protocol import Store
from tasker.teams.permissions import PERMISSIONS, ROLES
from tasker.testing.store_suite.decisions import make_approval_wait
from tasker.testing.store_suite.factories import ManualWorker

pytestmark = pytest.mark.anyio

OPEN = {
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/live"),
    ("GET", "/ready"),
}
"""Routes that ask nobody who they are. Whoever adds one says why: these tell of no one's work."""

OF_THE_CALLER = {
    ("GET", "/v1/session"),
    ("POST", "/v1/session"),
    ("DELETE", "/v1/session"),
    ("GET", "/v1/session/oidc/start"),
    ("GET", "/v1/session/oidc/callback"),
}
"""Routes on the caller alone: what logs in cannot have logged in before."""

BY_TOKEN = {("POST", "/v1/complete/{token}"), ("POST", "/v1/hooks/{namespace}/{name}")}
"""Routes whose requests have a token or a signature instead of a credential."""

OWN, OTHER, SHARED = "payments", "orders", "shared"
REFUSED = frozenset({"tasks:create", "templates:register", "namespaces:update", "workers:drain"})
"""Permissions of routes that answer 403 outside the caller's namespaces, since what they are about
is named by the caller, or is listed for everybody."""
OF_THE_SERVER = frozenset({"keys:read", "workers:read", "system:metrics_read"})
OF_THE_BODY = ("POST", "/v1/schedules/preview")
"""Computes its response from the request alone, whatever the namespace."""
DELETED = "short_lived"
"""Name of what routes delete; it is there again before each request."""
NEEDS_TOO = {
    "POST /v1/webhooks webhooks:update": "events:read",
    "PATCH /v1/webhooks/{namespace}/{name} webhooks:update": "events:read",
    "POST /v1/schedules schedules:create": "tasks:create",
    "PUT /v1/schedules/{namespace}/{name} schedules:update": "tasks:create",
    "PATCH /v1/schedules/{namespace}/{name} schedules:update": "tasks:create",
    "POST /v1/schedules/{namespace}/{name}/backfill schedules:backfill": "tasks:create",
    "POST /v1/schedules/{namespace}/{name}/trigger schedules:backfill": "tasks:create",
}
"""Second permissions of routes that need two."""
SEEN = (200, 201, 202, 204, 409)
"""Let in: it was done, or the state of what was found does not allow it."""


class Route(NamedTuple):
    """One route, and one permission that it may ask for, or the first that it needs."""

    method: str
    path: str
    permission: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.permission}"

    @property
    def needs(self) -> list[str]:
        """The permissions that are needed together, in the order in which they are asked for."""
        return [self.permission, *([NEEDS_TOO[str(self)]] if str(self) in NEEDS_TOO else [])]

    @property
    def deletes(self) -> bool:
        return self.method == "DELETE" or self.path.endswith("/unset")


class Sample(NamedTuple):
    """How a route is called."""

    body: Any = None
    query: str = ""
    text: str = ""


def _task(form: str = "flat") -> Any:
    flat = {"name": "refund", "namespace": "{namespace}"}
    return {"flat": flat, "bulk": {"tasks": [flat]}}[form]


_CORE_STEP = "/compat/core/v1/tasks/{task_id}/workflow_steps/{step_uuid}"

_TEMPLATE = {
    "name": "refund",
    "namespace": "{namespace}",
    "version": "3.0.0",
    "steps": [{"name": "check", "handler": {"callable": "check"}}],
}

SAMPLES = {
    "POST /v1/tasks tasks:create": Sample(_task()),
    "POST /v1/tasks/bulk tasks:create": Sample(_task("bulk")),
    "POST /tasker/tasks tasks:create": Sample(_task()),
    "POST /workflows/execute tasks:create": Sample(_task()),
    "GET /v1/tasks/{task_id}/wait tasks:read": Sample(query="?timeout=0"),
    "GET /v1/templates/{namespace}/{name}/diff templates:read": Sample(query="?from=1.0.0"),
    "POST /v1/templates templates:register": Sample(_TEMPLATE),
    "POST /v1/templates/bulk templates:register": Sample({"templates": [_TEMPLATE]}),
    "POST /v1/template_versions/{namespace}/{name}/{version}/review templates:approve": Sample(
        {"approve": False, "reason": "too slow"}
    ),
    "POST /v1/approvals/{approval_id}/decision approvals:decide": Sample(
        {"form": {"approved": True}}
    ),
    "PUT /v1/hooks/{namespace}/{name} webhooks:update": Sample(
        {"scheme": "github", "secret": "0123456789abcdef", "sends": "pushed", "key": "body.ref"}
    ),
    "PUT /v1/namespaces/{namespace}/policy namespaces:update": Sample({"owner_team": "them"}),
    "PUT /v1/queues/{namespace}/{handler}/weight queues:update": Sample({"weight": 2}),
    "POST /v1/tasks/{task_id}/steps/{step}/complete steps:resolve": Sample({"result": None}),
    "POST /v1/tasks/{task_id}/signals signals:send": Sample({"name": "paid"}),
    "POST /v1/broadcasts signals:send": Sample(
        {"namespace": "{namespace}", "name": "paid", "key": "o-1", "id": "1"}
    ),
    "PUT /v1/limits limits:update": Sample(
        {"namespace": "{namespace}", "key": "bank", "concurrency": 2}
    ),
    "POST /v1/limits/unset limits:update": Sample({"namespace": "{namespace}", "key": DELETED}),
    "POST /v1/workers/{worker}/drain workers:drain": Sample({"reason": "deploy"}),
    "PATCH /v1/failures/{fingerprint} tasks:retry": Sample(
        {"namespace": "{namespace}", "assignee": "ann"}
    ),
    "POST /v1/tasks/{task_id}/preview tasks:read": Sample({"action": "cancel"}),
    "POST /v1/tasks/{task_id}/reveal payloads:reveal": Sample({"reason": "a complaint"}),
    "GET /v1/search tasks:list": Sample(query="?q=refund"),
    "POST /v1/schedules schedules:create": Sample(
        {"namespace": "{namespace}", "name": "hourly", "template": "refund", "every": "1h"}
    ),
    "POST /v1/schedules/preview schedules:read": Sample({"every": "1h"}),
    "PATCH /v1/schedules/{namespace}/{name} schedules:update": Sample({"jitter": 5}),
    "PUT /v1/schedules/{namespace}/{name} schedules:update": Sample(
        {"template": "refund", "every": "1h"}
    ),
    "POST /v1/schedules/{namespace}/{name}/backfill schedules:backfill": Sample(
        {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"}
    ),
    "POST /v1/schedules/{namespace}/{name}/trigger schedules:backfill": Sample({}),
    "POST /v1/webhooks webhooks:update": Sample(
        {"namespace": "{namespace}", "name": "crm", "url": "https://crm.example"}
    ),
    "PATCH /v1/webhooks/{namespace}/{name} webhooks:update": Sample({"paused": False}),
    "POST /v1/webhooks/{namespace}/{name}/secret webhooks:update": Sample({}),
    "POST /v1/webhooks/{namespace}/{name}/deliveries/{delivery}/send webhooks:update": Sample({}),
    "POST /compat/core/v1/tasks tasks:create": Sample(_task()),
    **{
        f"POST /v1/bulk tasks:{action}": Sample({"action": action, "ids": ["{task_id}"]})
        for action in ("cancel", "retry", "resolve")
    },
    f"PATCH {_CORE_STEP} steps:retry": Sample({"action_type": "reset_for_retry"}),
    f"PATCH {_CORE_STEP} steps:resolve": Sample({"action_type": "resolve_manually"}),
}


def api_routes() -> Iterator[APIRoute]:
    app = create_app("sqlite::memory:")
    yield from (route for route in app.routes if isinstance(route, APIRoute))


def protected() -> list[Route]:
    """List the routes that declare a permission, once for each that they may ask for."""
    declared = [
        Route(method, route.path, permission)
        for route in api_routes()
        for method in sorted(route.methods or ())
        for permission in (route.openapi_extra or {}).get("x-permissions", ())
    ]
    second = {(*route[:2], permission) for route in declared for permission in route.needs[1:]}
    return [route for route in declared if route not in second]


ROUTES = protected()
LISTS = [route for route in ROUTES if "{" not in route.path and route.method == "GET"]
TOUCHING = [route for route in ROUTES if route not in LISTS]


class World(NamedTuple):
    """A store with work of three teams in it."""

    store: Store
    tasks: dict[str, TaskId]  #: by namespace; cancelled, so that nothing else becomes of it
    approvals: dict[str, str]  #: ids of approvals that their steps waited for
    deliveries: dict[str, str]  #: ids of deliveries to their webhooks
    workers: dict[str, WorkerId]  #: remote workers that serve one namespace
    operations: Mapping[tuple[str, str], str]
    """Ids of operations on many tasks, by namespace and the permission that they need."""
    applications: list[tuple[AuthSettings, FastAPI]]  #: one for each of the tests' settings

    def calling(
        self, credential: str | None = None, *, auth: AuthSettings | None = None
    ) -> httpx.AsyncClient:
        """Make a client that sends a credential; settings that are equal share an application."""
        auth = auth or AuthSettings(enabled=True)
        for settings, app in self.applications:
            if settings == auth:
                return client_of(app, credential)
        self.applications.append((auth, create_app(self.store, auth=auth)))
        return client_of(self.applications[-1][1], credential)

    async def ask(self, caller: httpx.AsyncClient, route: Route, namespace: str) -> httpx.Response:
        """Call a route about something in a namespace."""
        sample = SAMPLES.get(str(route), Sample())
        name = "check_retirement" if "retire" in route.path or "restore" in route.path else "refund"
        if route.deletes:
            name = DELETED
            await put_operated(self.store, namespace, name)
        parts = {
            "task_id": self.tasks[namespace],
            "approval_id": self.approvals[namespace],
            "delivery": self.deliveries[namespace],
            "worker": str(self.workers[namespace]),
            "fingerprint": "0123456789abcdef",
            "namespace": namespace,
            "name": name,
            "version": "1.0.0",
            "step": "check",
            "step_uuid": "check",
            "handler": "check",
            "bulk_id": self.operations[namespace, route.permission],
        }
        return await caller.request(
            route.method,
            route.path.format(**parts) + sample.query,
            json=_filled(sample.body, {key: parts[key] for key in ("namespace", "task_id")}),
        )


def _filled(value: Any, parts: Mapping[str, str]) -> Any:
    """Return a sample with the texts `{namespace}` and `{task_id}` filled in."""
    if isinstance(value, dict):
        return {name: _filled(part, parts) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, parts) for part in value]
    return parts.get(value.strip("{}"), value) if isinstance(value, str) else value


async def put_operated(store: Store, namespace: str, name: str) -> None:
    """Make a hook, a webhook, a schedule and a limit of one name, unless they are there."""
    hook = ProviderHook(
        namespace=namespace,
        name=name,
        scheme=SignatureScheme.GITHUB,
        target=HookMessageKind.BROADCAST,
        sends="pushed",
        key="body.ref",
    )
    await store.put_hook(hook, "0123456789abcdef", ACT)
    with suppress(WebhookExists):
        await store.add_webhook(
            new_webhook(f"{namespace}.{name}", "https://crm.example", "*", ()), ACT
        )
    with suppress(ScheduleExists):
        schedule = Schedule(name=name, every="1h")
        new = NewSchedule(namespace=namespace, template="refund", version="", schedule=schedule)
        await store.create_schedule(new, ACT)
    await store.set_limit(LimitKey(namespace, name), LimitValues(concurrency=1), ACT)


async def register_worker(store: Store, namespace: str) -> WorkerId:
    """Register a remote worker that serves a namespace."""
    body = {
        "protocol": PROTOCOL,
        "name": "remote",
        "slots": 1,
        "handlers": [{"name": "check"}],
        "namespaces": [namespace],
    }
    return await store.register_worker(
        "remote",
        lease=timedelta(hours=1),
        slots=1,
        handlers=["check"],
        registration=RemoteRegistration.from_request(body).to_json(),
    )


async def operate(store: Store, action: BulkAction, namespace: str) -> str:
    """Start an operation on no task of a namespace."""
    nothing = TaskFilter(namespace=namespace, tag="none")
    return (await LocalClient(store).bulk.start(action, nothing)).id


async def deliver(store: Store, namespace: str) -> str:
    """Publish an event in a namespace; return the id of its delivery to the webhook `refund`."""
    task_id = await begin(store, namespace)
    stored = await store.get_template(template(namespace).key)
    worker = await ManualWorker.register(store)
    (claim,) = await worker.claim()
    event = NewEvent(0, stored.id, "check", task_id, "payment.charged", dumps({}), 0.0)
    await store.settle(worker.id, [completed_outcome(claim, dumps({}))], events=[event])
    await store.cancel_task(task_id, ACT)
    await store.distribute_events()
    (delivery,) = await store.list_deliveries(namespace, "refund")
    return str(delivery.id)


@pytest.fixture(scope="module")
async def world(anyio_backend: str) -> AsyncIterator[World]:
    """Make the store that all of the matrix is about: nothing that it tries changes answers."""
    async with open_store("sqlite::memory:") as store:
        await register(store, OWN, OTHER, SHARED)
        await register(store, OWN, OTHER, SHARED, name="check_retirement")
        tasks, approvals, deliveries, workers = {}, {}, {}, {}
        operations: defaultdict[tuple[str, str], str] = defaultdict(lambda: UNKNOWN_TASK)
        for namespace in (OWN, OTHER, SHARED):
            tasks[namespace] = await begin(store, namespace)
            (claim, *_) = await (await ManualWorker.register(store)).claim()
            assert await store.park_for_arrival(claim, make_approval_wait())
            (approval,) = await store.list_open_approvals(task_id=tasks[namespace])
            approvals[namespace] = approval.id
            await store.cancel_task(tasks[namespace], ACT)
            await put_operated(store, namespace, "refund")
            deliveries[namespace] = await deliver(store, namespace)
            workers[namespace] = await register_worker(store, namespace)
            for action in BulkAction:
                operations[namespace, f"tasks:{action}"] = await operate(store, action, namespace)
            operations[namespace, "tasks:list"] = operations[namespace, "tasks:cancel"]
        yield World(store, tasks, approvals, deliveries, workers, operations, [])


# ------------------------------------------------------------------------- the table


def test_every_route_declares_its_permission() -> None:
    """Except the public routes listed here."""
    undeclared = {
        (method, route.path)
        for route in api_routes()
        for method in route.methods or ()
        if not (route.openapi_extra or {}).get("x-permissions")
    }

    assert OPEN | OF_THE_CALLER | BY_TOKEN == undeclared


def test_every_permission_is_required_by_a_route() -> None:
    """Those for remote workers are tried in tests/remote/test_authorization.py, and what is read
    with `payloads:read` in test_masking.py."""
    asked = {route.permission for route in ROUTES} | {"workers:run", "payloads:read"}
    assert {str(permission) for permission in PERMISSIONS} == asked


# -------------------------------------------------------------------- who is nobody


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_requests_without_credentials_are_refused(world: World, route: Route) -> None:
    """Requests are refused before path and body are read."""
    async with world.calling() as caller:
        right = await world.ask(caller, route, OWN)
        path = route.path.replace("{", "").replace("}", "!")
        wrong = await caller.request(route.method, path, content=b"{", headers={"X": "y"})

    for answer in (right, wrong):
        assert (401, "unauthenticated") == (answer.status_code, answer.json()["code"])
        assert 'Bearer realm="tasker"' == answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", sorted(path for _, path in OPEN))
async def test_health_requires_no_credentials(world: World, path: str) -> None:
    """Probes have no credentials."""
    async with world.calling() as caller:
        assert 200 == (await caller.get(path)).status_code


Outcome = tuple[int, str | None]
"""The status of an answer, and the permission that it says is missing."""


def _get_outcome(answer: httpx.Response) -> Outcome:
    refused = answer.headers.get("Content-Type") == "application/problem+json"
    return answer.status_code, answer.json().get("permission") if refused else None


# ------------------------------------------------- permissions x namespaces of a key


def expected_of_key(route: Route, role: str, namespace: str) -> set[Outcome]:
    """Return the responses that a key with a role in OWN may get."""
    held = {str(permission) for permission in ROLES.get(role, ())}
    asks_for = [other.permission for other in ROUTES if other[:2] == route[:2]]
    if not held.intersection(asks_for):
        return {(403, asks_for[0])}
    if missing := [permission for permission in route.needs if permission not in held]:
        return {(403, missing[0])}
    if route.permission in OF_THE_SERVER or route[:2] == OF_THE_BODY or namespace == OWN:
        return {(status, None) for status in SEEN}
    return {(403, route.permission)} if route.permission in REFUSED else {(404, None)}


@pytest.mark.parametrize("route", TOUCHING, ids=str)
async def test_a_key_has_the_permissions_of_its_role_in_its_namespaces(
    world: World, route: Route
) -> None:
    """
    A missing permission is named; invisible objects are not found.
    """
    wrong = []
    for role in ("none", *ROLES):
        text = await key(world.store, *([] if role == "none" else [role]), namespaces=[OWN])
        async with world.calling(text) as caller:
            for namespace in (OTHER, SHARED, OWN):
                answer = await world.ask(caller, route, namespace)
                answered = _get_outcome(answer)
                if answered not in expected_of_key(route, role, namespace):
                    wrong.append((role, namespace, *answered, answer.text))

    assert [] == wrong


@pytest.mark.parametrize("route", LISTS, ids=str)
async def test_a_list_contains_only_the_namespaces_of_the_key(world: World, route: Route) -> None:
    """Other namespaces are not mentioned; a role that may not list is refused."""
    wrong = []
    for role in ("none", *ROLES):
        text = await key(world.store, *([] if role == "none" else [role]), namespaces=[OWN])
        held = {str(permission) for permission in ROLES.get(role, ())}
        async with world.calling(text) as caller:
            answer = await world.ask(caller, route, OWN)
        right = 200 if route.permission in held else 403
        hidden = route.permission in OF_THE_SERVER or not _mentions(answer, OTHER, SHARED)
        if answer.status_code != right or not hidden:
            wrong.append((role, answer.status_code, answer.text))

    assert [] == wrong


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_an_administrator_may_do_everything_in_every_namespace(
    world: World, route: Route
) -> None:
    """An administrator has a key, a token or the permission `*`."""
    credentials = [
        await key(world.store, "admin", namespaces=["*"]),
        await key(world.store, permissions=["*"], namespaces=["*"]),
        token(roles=["admin"], namespaces=None, signed_with=rsa_key()),
    ]
    for credential in credentials:
        async with world.calling(credential, auth=with_tokens()) as caller:
            for namespace in (OWN, OTHER, SHARED):
                assert (await world.ask(caller, route, namespace)).status_code in SEEN


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_one_permission_grants_only_its_routes(world: World, route: Route) -> None:
    """Each permission alone, and the wildcard of its resource; two if a route needs two."""
    for scope in (route.permission, route.permission.partition(":")[0] + ":*"):
        text = await key(world.store, permissions=[scope, *route.needs[1:]], namespaces=["*"])
        async with world.calling(text) as caller:
            assert (await world.ask(caller, route, OWN)).status_code in SEEN
    for missing in route.needs:
        others = [str(each) for each in PERMISSIONS if str(each) != missing]
        text = await key(world.store, permissions=others, namespaces=["*"])
        async with world.calling(text) as caller:
            answer = await world.ask(caller, route, OWN)

        assert (403, missing) == _get_outcome(answer)


# -------------------------------------------------------------------------- teams

BY_TEAM = "tasker.api.auth:TeamCoordinator"


def expected_of_team(route: Route, namespace: str) -> set[Outcome]:
    """Return the responses that a member of the team which owns OWN may get."""
    views = route.permission.endswith((":read", ":list", ":analytics_read"))
    allowed: set[Outcome] = {(status, None) for status in SEEN}
    if namespace == OWN or (namespace == SHARED and views) or route[:2] == OF_THE_BODY:
        return allowed
    if route.permission in OF_THE_SERVER:
        return allowed
    if namespace == SHARED or route.permission in REFUSED:
        return {(403, route.permission)}
    return {(404, None)}


@pytest.mark.parametrize("route", TOUCHING, ids=str)
async def test_a_team_manages_its_namespace_and_sees_the_shared_one(
    world: World, route: Route
) -> None:
    """
    Whichever way the team's name is written; other namespaces are not there.
    """
    auth = with_tokens(coordinator=BY_TEAM)
    wrong = []
    for team in ("payments", "Payments"):
        member = token(team=team, roles=None, namespaces=None)
        async with world.calling(member, auth=auth) as caller:
            for namespace in (OTHER, SHARED, OWN):
                answer = await world.ask(caller, route, namespace)
                answered = _get_outcome(answer)
                if answered not in expected_of_team(route, namespace):
                    wrong.append((team, namespace, *answered, answer.text))

    assert [] == wrong


@pytest.mark.parametrize("route", LISTS, ids=str)
async def test_a_list_shows_a_team_its_own_and_the_shared_namespace(
    world: World, route: Route
) -> None:
    """An admin sees everything."""
    auth = with_tokens(coordinator=BY_TEAM)
    member = token(team="payments", roles=None, namespaces=None)
    admin = token(team="platform", roles=["admin"], namespaces=None)
    async with world.calling(member, auth=auth) as caller:
        seen = await world.ask(caller, route, OWN)
    async with world.calling(admin, auth=auth) as caller:
        everything = await world.ask(caller, route, OWN)

    of_all_teams = route.permission == "system:metrics_read"
    assert (403 if of_all_teams else 200) == seen.status_code
    assert not _mentions(seen, OTHER)
    assert 200 == everything.status_code
    if _mentions(everything, OTHER) and not of_all_teams:
        assert _mentions(seen, OWN) and _mentions(seen, SHARED)


def _mentions(answer: httpx.Response, *words: str) -> bool:
    return any(f'"{word}' in answer.text for word in words)


async def test_metrics_may_be_public(world: World) -> None:
    """Other routes stay protected."""
    auth = AuthSettings(enabled=True, metrics_public=True)
    async with world.calling(auth=auth) as caller:
        statuses = {
            route.path: (await world.ask(caller, route, OWN)).status_code for route in LISTS
        }

    assert {path: 200 if path == "/metrics" else 401 for path in statuses} == statuses


async def test_without_authentication_everybody_may_do_everything(world: World) -> None:
    """Therefore such a server listens on loopback only."""
    async with world.calling(auth=AuthSettings()) as caller:
        for route in ROUTES:
            assert (await world.ask(caller, route, OTHER)).status_code in SEEN, route
