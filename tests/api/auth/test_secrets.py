"""What is written down about credentials: who, whether, why not; never the credential."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.api.auth.scene import ACT, ISSUER, calling, key, rsa_key, token, with_tokens

from tasker.api import create_app
from tasker.api.auth.credentials import NOT_A_NAME, credential_of
from tasker.api.server import run_server
from tasker.cli.logs import JsonFormatter
from tasker.settings import AccessLogMode, ServerSettings
from tasker.store.protocol import Store
from tasker.teams.api_keys import parse_key

pytestmark = pytest.mark.anyio


def parts(text: str) -> Iterator[str]:
    """Return what must not be read anywhere of a credential."""
    yield text
    if text.startswith("tsk_"):
        yield text.rsplit("_", 1)[1]
    else:
        yield from text.split(".")[1:]


async def credentials(store: Store) -> dict[str, str]:
    """Make credentials of all kinds, by what becomes of them."""
    past = datetime.now(UTC) - timedelta(minutes=5)
    revoked = await key(store, "viewer")
    parts_of_key = parse_key(revoked)
    assert parts_of_key is not None
    await store.revoke_api_key(parts_of_key.prefix, ACT)
    right = await key(store, "viewer")
    return {
        "key": right,
        "key of another secret": right[:-8] + "deadbeef",
        "expired key": await key(store, "viewer", expires_at=past),
        "revoked key": revoked,
        "token": token(),
        "forged token": token(signed_with=rsa_key(1), sub="a forger"),
        "expired token": token(exp=past),
        "token for others": token(aud="others"),
        "token without a name": token(sub=""),
    }


async def test_no_credential_is_logged_or_stored(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in logs of any level nor in responses, for any outcome."""
    responses = []
    made = await credentials(store)
    with caplog.at_level(logging.DEBUG):
        for text in made.values():
            for headers in ({"Authorization": f"Bearer {text}"}, {"X-API-Key": text}):
                async with calling(store, auth=with_tokens()) as caller:
                    for path in ("/v1/tasks", "/v1/templates/orders/refund/1.0.0"):
                        answer = await caller.get(path, headers=headers)
                        responses += [answer.text, str(answer.headers)]
    formatter = JsonFormatter()
    written = [formatter.format(record) for record in caplog.records] + [
        str(vars(record)) for record in caplog.records
    ]

    assert any('"event":"not_authenticated"' in line for line in written)
    for name, text in made.items():
        for part in parts(text):
            assert not [line for line in (*written, *responses) if part in line], name


async def test_no_server_process_logs_credentials(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ServerSettings(port=0, access_log=AccessLogMode.ALL)
    app = create_app(store, settings=settings, auth=with_tokens())
    made = await credentials(store)
    with caplog.at_level(logging.DEBUG):
        async with run_server(app, settings) as server, httpx.AsyncClient(timeout=60) as caller:
            for text in made.values():
                await caller.get(
                    f"{server.url}/v1/tasks", headers={"Authorization": f"Bearer {text}"}
                )
    records = [record for record in caplog.records if not record.name.startswith("http")]

    assert records
    for text in made.values():
        for part in parts(text):
            assert not [record for record in records if part in str(vars(record))]


async def test_the_log_names_the_principal_and_the_reason_of_a_refusal(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The public part of a key; the reason in more detail than in the response.
    """
    made = await credentials(store)
    parts_of_key = parse_key(made["key"])
    assert parts_of_key is not None
    prefix = parts_of_key.prefix
    with caplog.at_level(logging.INFO, "tasker"):
        for text in made.values():
            settings = ServerSettings(access_log=AccessLogMode.ALL)
            async with calling(store, text, auth=with_tokens(), settings=settings) as caller:
                await caller.get("/v1/tasks")
    refused = [vars(record) for record in caplog.records if record.msg == "not_authenticated"]
    served = [vars(record) for record in caplog.records if record.msg == "request"]

    assert [
        ("invalid", f"key {prefix}: the secret is wrong"),
        ("expired", "key ...".replace("...", _prefix(made["expired key"]))),
        ("revoked", "key ...".replace("...", _prefix(made["revoked key"]))),
        ("invalid", "InvalidSignatureError"),
        ("expired", "ExpiredSignatureError"),
        ("invalid", "InvalidAudienceError"),
        ("invalid", f"the claim sub is missing or is {NOT_A_NAME}"),
    ] == [(facts["reason"], facts["why"]) for facts in refused]
    assert ("a key", f"key {prefix}", 200) == (
        served[0]["principal"],
        served[0]["by"],
        served[0]["status"],
    )
    assert (None, 401) == (served[1]["principal"], served[1]["status"])
    assert {"jake"} == {facts["principal"] for facts in served if facts["by"] == "token"}


def _prefix(text: str) -> str:
    parts_of_key = parse_key(text)
    assert parts_of_key is not None
    return parts_of_key.prefix


async def test_a_refusal_is_logged_with_the_missing_permission(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The record has the missing permission and the caller."""
    with caplog.at_level(logging.INFO, "tasker.auth"):
        async with calling(store, await key(store, "viewer", "operator")) as caller:
            await caller.post("/v1/tasks", json={"name": "orders.refund"})
    (record,) = caplog.records

    assert ("not_authorized", "a key", "tasks:create", "orders") == (
        record.msg,
        vars(record)["principal"],
        vars(record)["permission"],
        vars(record)["namespace"],
    )


def test_the_repr_of_a_credential_hides_it() -> None:
    """It may appear in a traceback, a debugger or a log record."""
    scope = {"headers": [(b"authorization", b"Bearer tsk_0123_secret")]}

    assert "secret" not in f"{credential_of(scope)!r} {credential_of(scope)}"


def test_the_repr_of_a_principal_hides_its_claims() -> None:
    """Claims may contain personal data."""
    from tasker.api.auth.claims import principal_of_claims

    claims_sent = {"sub": "jake", "iss": ISSUER, "phone": "555-0100"}

    assert "555-0100" not in repr(principal_of_claims(claims_sent, with_tokens(), {}))


def test_problems_are_returned_as_json() -> None:
    """
    Names of callers are escaped in responses.
    """
    from tasker.api.auth.coordinators import Resource
    from tasker.api.auth.principal import Principal
    from tasker.api.auth.rejections import forbidden_problem
    from tasker.teams.permissions import TASKS_CREATE

    name = 'jake"\r\nSet-Cookie: x'
    problem = forbidden_problem(TASKS_CREATE, Principal(name=name), Resource("payments"))
    reply = problem.to_response({"path": "/", "state": {}, "headers": []})

    assert name in json.loads(bytes(reply.body))["detail"]
    assert "Set-Cookie" not in str(reply.headers)
