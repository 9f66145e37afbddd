"""The requests of the seed documents, as printed, and what earlier clients rely on."""

import json
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from tests.api.api_client import UNKNOWN_TASK, ApiClient

from tasker import open_store, parse_template
from tasker.api import create_app
from tasker.settings import AuthSettings
from tasker.store.protocol import AuditNote, Store
from tasker.teams.api_keys import generate_key
from tasker.teams.model import NamespacePolicy, NewApiKey

pytestmark = pytest.mark.anyio

SEEDS = Path(__file__).parent.parent / "seeds"


class Curl(NamedTuple):
    """One curl command."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


def commands() -> Iterator[Curl]:
    """Read the commands of the seed documents, which a shell would run."""
    words = shlex.split((SEEDS / "requests.sh").read_text().replace("\\\n", " "), comments=True)
    starts = [at for at, word in enumerate(words) if word == "curl"]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        yield _command(words[start + 1 : end])


def _command(words: list[str]) -> Curl:
    method, path, headers, body = "GET", "", {}, None
    rest = iter(words)
    for word in rest:
        if word in ("-X", "-XPOST"):
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = json.loads(next(rest))
        else:
            parts = urlsplit(word)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Curl(method, path, headers, body)


PRINTED = list(commands())
CREATING = [one for one in PRINTED if one.path == "/tasker/tasks"]
EXECUTING = [one for one in PRINTED if one.path == "/workflows/execute"]


@pytest.fixture
async def seeds(url: str) -> AsyncIterator[Store]:
    """Open a store with the templates of the seed documents, in the versions they name."""
    async with open_store(url, upgrade=True) as store:
        for file, other in (
            ("payments_process_refund_2.1.3.yaml", "2.1.0"),
            ("customer_success_process_refund_1.3.3.yaml", "1.3.0"),
        ):
            template = parse_template((SEEDS / file).read_text())
            await store.register_template(template, registered_by="seeds")
            await store.register_template(
                replace(template, version=other, input_schema=None), registered_by="seeds"
            )
        await store.put_policy(
            NamespacePolicy(
                namespace="payments",
                owner_team="payments",
                contact_email="payments-team@growthcorp.com",
                description="Payment processing and gateway operations",
            ),
            AuditNote(actor="seeds"),
        )
        yield store


@pytest.fixture(params=["open", "with a token"])
async def api_and_token(
    request: pytest.FixtureRequest, seeds: Store
) -> AsyncIterator[tuple[ApiClient, str]]:
    """Ask a server that asks nobody who they are, and one that wants the printed token."""
    token, auth = "any", AuthSettings()
    if request.param == "with a token":
        key = generate_key()
        token, auth = key.text, AuthSettings(enabled=True)
        await seeds.add_api_key(
            NewApiKey(
                name="teams",
                prefix=key.prefix,
                digest=key.digest,
                roles=("operator",),
                namespaces=("payments", "customer_success"),
            ),
            AuditNote(actor="seeds"),
        )
    app = create_app(seeds, auth=auth)
    async with ApiClient(seeds, transport=httpx.ASGITransport(app), base_url="http://t") as one:
        yield one, token


async def run(api_and_token: tuple[ApiClient, str], command: Curl) -> httpx.Response:
    """Do what a command would do, with $TOKEN filled in."""
    one, token = api_and_token
    headers = {name: value.replace("$TOKEN", token) for name, value in command.headers.items()}
    if "Authorization" not in headers:
        headers["Authorization"] = f"Bearer {token}"
    content = None if command.body is None else json.dumps(command.body)
    return await one.request(command.method, command.path, headers=headers, content=content)


def test_all_printed_requests_are_covered() -> None:
    assert 7 == len(PRINTED)
    assert (2, 2) == (len(CREATING), len(EXECUTING))


@pytest.mark.parametrize("command", CREATING + EXECUTING, ids=lambda one: one.body["namespace"])
async def test_printed_requests_create_tasks(
    api_and_token: tuple[ApiClient, str], command: Curl
) -> None:
    """
    The answer has the fields that the documents show, flat, and its full name is derived.
    """
    response = await run(api_and_token, command)

    task = api_and_token[0].json_of(response, 201)
    name = "{namespace}.{name}@{version}".format(**command.body)
    assert {
        "id": task["task_id"],
        "name": "process_refund",
        "namespace": command.body["namespace"],
        "version": command.body["version"],
        "full_name": name,
        "status": "pending",
    }.items() <= task.items()
    assert command.body["context"].items() <= task["context"].items()
    assert task["task"].items() <= task.items()
    assert task["created_at"].endswith("Z")


@pytest.mark.parametrize(
    "command", [one for one in PRINTED if one.method == "GET"], ids=lambda one: one.path
)
async def test_printed_requests_discover_templates(
    api_and_token: tuple[ApiClient, str], command: Curl
) -> None:
    response = await run(api_and_token, command)

    assert 200 == response.status_code, response.text
    assert "process_refund" in response.text


async def test_a_namespace_shows_its_workflows_as_printed(
    api_and_token: tuple[ApiClient, str],
) -> None:
    """The response has the printed fields, one entry per version, and the owner."""
    shown = (await run(api_and_token, Curl("GET", "/tasker/handlers/payments", {}, None))).json()

    latest = shown["handlers"][-1]
    assert ("payments", "payments", "payments-team@growthcorp.com") == (
        shown["namespace"],
        shown["owner_team"],
        shown["contact_email"],
    )
    assert {
        "id": "process_refund",
        "namespace": "payments",
        "version": "2.1.3",
        "step_count": 4,
        "step_names": [
            "validate_payment_eligibility",
            "process_gateway_refund",
            "update_payment_records",
            "notify_customer",
        ],
        "versions": ["2.1.0", "2.1.3"],
        "latest_version": "2.1.3",
    }.items() <= latest.items()


async def test_one_workflow_shows_its_graph(api_and_token: tuple[ApiClient, str]) -> None:
    """The default is the latest version; edges come from all dependencies."""
    path = "/tasker/handlers/customer_success/process_refund"
    shown = (await run(api_and_token, Curl("GET", path, {}, None))).json()

    graph = shown["dependency_graph"]
    assert ("1.3.3", True) == (shown["version"], shown["available"])
    assert 5 == len(shown["step_templates"]) == len(graph["nodes"])
    assert {
        "from": "validate_refund_request",
        "to": "check_refund_policy",
        "type": "dependency",
    } in graph["edges"]
    assert graph["execution_order"] == shown["step_names"]
    assert shown["handler"].items() <= shown.items()


async def test_a_body_may_be_wrapped(api_and_token: tuple[ApiClient, str]) -> None:
    command = CREATING[0]

    response = await run(api_and_token, command._replace(body={"task": command.body}))

    assert "payments.process_refund@2.1.3" == api_and_token[0].json_of(response, 201)["full_name"]


async def test_a_delegating_team_reads_what_it_expects(
    api_and_token: tuple[ApiClient, str],
) -> None:
    """
    `workflow_name` in; a task id, `created` and the correlation id of its context out.
    """
    context = {
        "payment_id": "pay_123",
        "refund_amount": 4999,
        "refund_reason": "customer_request",
        "initiated_by": "customer_success",
        "correlation_id": "cs-0af3",
    }
    body = {
        "namespace": "payments",
        "workflow_name": "process_refund",
        "workflow_version": "2.1.3",
        "context": context,
    }
    headers = {"Content-Type": "application/json"}

    created = api_and_token[0].json_of(
        await run(api_and_token, Curl("POST", "/tasker/tasks", headers, body)), 201
    )

    assert ("created", "cs-0af3", "pending") == (
        created["status"],
        created["correlation_id"],
        created["task_status"],
    )
    path = f"/tasker/tasks/{created['task_id']}"
    read = api_and_token[0].json_of(await run(api_and_token, Curl("GET", path, {}, None)), 200)
    assert (created["task_id"], context) == (
        read["task_id"],
        {key: read["context"][key] for key in context},
    )


async def test_an_invalid_delegation_fails_permanently(one: ApiClient) -> None:
    """
    Delegating handlers treat 400 as permanent.
    """
    for body, code in (
        ({"namespace": "shop", "workflow_name": "refnd", "context": {}}, "not_found"),
        ({"namespace": "shop", "workflow_name": "refund", "context": {}}, "invalid_input"),
        ({"namespace": "shop", "workflow_name": "refund", "contxt": {}}, "invalid_request"),
        ({"task": {"namespace": "shop"}}, "invalid_request"),
        ({"namespace": "shop"}, "invalid_request"),
    ):
        assert code == (await one.call("/tasker/tasks", body, 400))["code"]


async def test_a_missing_task_is_not_found_for_an_earlier_client(one: ApiClient) -> None:
    assert "not_found" == (await one.read(f"/tasker/tasks/{UNKNOWN_TASK}", 404))["code"]
