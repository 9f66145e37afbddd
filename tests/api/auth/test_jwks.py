"""Keys that an identity provider publishes: fetched, changed, missed, and out of reach."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.api.auth.scene import calling, ec_key, rsa_key, token, with_tokens
from tests.waiting import eventually

from tasker.api.auth.credentials import TokenKeysUnavailable
from tasker.api.auth.jwks import REFETCH, PublishedKeySet, parse_signature_keys
from tasker.settings import AuthSettings
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


class Provider:
    """An identity provider on loopback, which publishes what a test says."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = "200 OK"
        self.headers: list[str] = []
        self.body = b""
        self.documents: dict[str, bytes] = {}  #: by path, in place of `body`
        self.answering = asyncio.Event()
        self.answering.set()
        self.url = ""

    def publish(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": list(keys)}).encode()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Provider"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
        try:
            yield self
        finally:
            self.answering.set()
            server.close()
            await server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(EOFError):  # who gave up
            request = await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.answering.wait()
            self._write(writer, self.documents.get(request.split()[1].decode(), self.body))

    def _write(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        head = [f"HTTP/1.1 {self.status}", f"Content-Length: {len(body)}", *self.headers]
        writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)


class Seconds:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def jwk(kid: str | None, no: int = 0, **changed: Any) -> dict[str, Any]:
    """Write an RSA key as providers publish it; None takes a member out."""
    entry = {
        **RSAAlgorithm.to_jwk(rsa_key(no).public_key(), as_dict=True),
        "kid": kid,
        "use": "sig",
        "alg": "RS256",
        **changed,
    }
    entry.pop("key_ops", None) if "key_ops" not in changed else None
    return {name: value for name, value in entry.items() if value is not None}


def ec_jwk(kid: str, **changed: Any) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(ec_key().public_key(), as_dict=True), "kid": kid, **changed}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Begin to publish one key, `a`."""
    provider = Provider()
    provider.publish(jwk("a"))
    async with provider.serving():
        yield provider


def discovering(provider: Provider, path: str = "", **document: Any) -> AuthSettings:
    """Publish a discovery document; return settings that name the issuer alone."""
    issuer = provider.url.removesuffix("/jwks.json") + path
    well_known = f"{path.rstrip('/')}/.well-known/openid-configuration"
    document = {"issuer": issuer, "jwks_uri": provider.url, **document}
    provider.documents[well_known] = json.dumps(document).encode()
    return with_tokens(jwt_public_key=None, issuer=issuer)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def auth(provider: Provider, **changed: Any) -> AuthSettings:
    return with_tokens(jwt_public_key=None, jwks_url=provider.url, **changed)


@pytest.fixture
def keys(provider: Provider, clock: Seconds) -> PublishedKeySet:
    """Return what fetches the provider's keys; they are good for 600 s, and 3600 s more."""
    return PublishedKeySet(auth(provider), clock=clock)


async def test_tokens_are_verified_with_the_key_that_they_name(
    store: Store, provider: Provider
) -> None:
    """RSA or EC keys, with their published algorithms; all keys are fetched in one request."""
    provider.publish(jwk("a"), jwk("b", 1, alg=None), ec_jwk("e"))
    right = [
        token(headers={"kid": "a"}),
        token(signed_with=rsa_key(1), headers={"kid": "b"}),
        token(signed_with=ec_key(), algorithm="ES256", headers={"kid": "e"}),
    ]
    wrong = [
        token(headers={"kid": "b"}),
        token(headers={"kid": "e"}),
        token(headers={"kid": "A"}),
        token(headers={"kid": ""}),
        token(),
        token(algorithm="PS256", headers={"kid": "a"}),
    ]
    settings = auth(provider, algorithms=("RS256", "PS256", "ES256"))
    async with calling(store, auth=settings) as caller:
        statuses = [
            (await caller.get("/v1/tasks", headers={"Authorization": f"Bearer {text}"})).status_code
            for text in right + wrong
        ]

    assert [200] * 3 + [401] * 6 == statuses
    assert 1 == provider.asked


async def test_an_unknown_key_id_triggers_a_fetch(
    provider: Provider, keys: PublishedKeySet, clock: Seconds
) -> None:
    """A removed key is dropped by the next fetch."""
    assert await keys.find_key("a", "RS256") is not None
    clock.now += REFETCH
    provider.publish(jwk("b", 1))

    assert await keys.find_key("b", "RS256") is not None
    assert await keys.find_key("a", "RS256") is None
    assert 2 == provider.asked


async def test_unknown_key_ids_cause_few_fetches(
    provider: Provider, keys: PublishedKeySet, clock: Seconds
) -> None:
    """Tokens with unknown keys cause one request in ten seconds at most."""
    results = await asyncio.gather(*(keys.find_key(f"unknown {no}", "RS256") for no in range(100)))
    assert ([None] * 100, 1) == (results, provider.asked)

    clock.now += REFETCH - 0.1
    assert None is await keys.find_key("unknown", "RS256")
    assert 1 == provider.asked
    clock.now += 0.2
    await asyncio.gather(*(keys.find_key(f"unknown {no}", "RS256") for no in range(100)))
    assert 2 == provider.asked


async def test_a_cancelled_request_does_not_cancel_the_fetch(
    provider: Provider, keys: PublishedKeySet
) -> None:
    """Other requests wait for the same fetch."""
    provider.answering.clear()
    first = asyncio.create_task(keys.find_key("a", "RS256"))
    await eventually(lambda: provider.asked)
    second = asyncio.create_task(keys.find_key("a", "RS256"))
    first.cancel()
    provider.answering.set()

    assert await second is not None
    assert 1 == provider.asked


async def test_stale_keys_are_refreshed_in_the_background(
    provider: Provider, keys: PublishedKeySet, clock: Seconds
) -> None:
    """Requests do not wait for that."""
    await keys.find_key("a", "RS256")
    clock.now += 601
    provider.publish(jwk("a"), jwk("b", 1))
    provider.answering.clear()

    assert await keys.find_key("a", "RS256") is not None
    provider.answering.set()
    await eventually(lambda: "b" in keys._keys)
    assert 2 == provider.asked


@pytest.mark.parametrize("outage", ["500 Internal Server Error", "503 Service Unavailable"])
async def test_cached_keys_are_used_while_the_provider_is_down(
    provider: Provider, keys: PublishedKeySet, clock: Seconds, outage: str
) -> None:
    """They are used for at most one hour."""
    await keys.find_key("a", "RS256")
    provider.status = outage
    clock.now += 600 + 3600
    assert await keys.find_key("a", "RS256") is not None
    await eventually(lambda: 2 == provider.asked)

    clock.now += REFETCH
    with pytest.raises(TokenKeysUnavailable):
        await keys.find_key("a", "RS256")
    provider.status = "200 OK"
    clock.now += REFETCH
    assert await keys.find_key("a", "RS256") is not None


async def test_a_server_without_keys_responds_that_it_cannot_verify(store: Store) -> None:
    """503 with `Retry-After`; API keys still work."""
    from tests.api.auth.scene import key

    provider = Provider()
    async with provider.serving():
        closed = auth(provider)
    api_key = await key(store, "viewer")
    async with calling(store, token(headers={"kid": "a"}), auth=closed) as caller:
        response = await caller.get("/v1/tasks")
        other = await caller.get("/v1/tasks", headers={"Authorization": f"Bearer {api_key}"})

    assert (503, "auth_unavailable") == (response.status_code, response.json()["code"])
    assert "5" == response.headers["Retry-After"]
    assert provider.url not in response.text
    assert 200 == other.status_code


@pytest.mark.parametrize(
    ("status", "headers", "body", "why"),
    [
        ("302 Found", ["Location: http://127.0.0.1:1/"], b"", "is a redirect"),
        ("200 OK", [], b"<html>", "the key set is not valid JSON"),
        ("200 OK", [], b"[]", "the key set must have a list `keys`"),
        ("200 OK", [], b'{"keys": {}}', "the key set must have a list `keys`"),
        ("200 OK", [], b'{"keys": [' + b"1," * 100 + b"1]}", "at most 100"),
        ("200 OK", [], b" " * (300 << 10), "the response is larger than 262,144 bytes"),
        ("200 OK", [], b"[" * 100_000, "the key set is not valid JSON"),
        ("404 Not Found", [], b'{"keys": []}', "the response has status 404"),
        (
            "200 OK",
            ["Content-Encoding: gzip"],
            b"\x1f\x8b\x08\x00",
            "the key set is not valid JSON",
        ),
    ],
)
async def test_an_invalid_key_set_is_not_used(
    provider: Provider,
    keys: PublishedKeySet,
    status: str,
    headers: list[str],
    body: bytes,
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Redirects are not followed, large bodies are not read to the end; the log has the reason."""
    provider.status, provider.headers, provider.body = status, headers, body
    with caplog.at_level(logging.WARNING, "tasker.auth"), pytest.raises(TokenKeysUnavailable):
        await keys.find_key("a", "RS256")

    (record,) = caplog.records
    assert "token_keys_not_fetched" == record.message
    assert why in vars(record)["why"]


async def test_the_fetch_of_keys_has_a_timeout(provider: Provider) -> None:
    """
    Longer than was set.
    """
    settings = auth(provider, jwks_timeout=timedelta(milliseconds=50))
    provider.answering.clear()

    with pytest.raises(TokenKeysUnavailable):
        await PublishedKeySet(settings).find_key("a", "RS256")


async def test_a_machine_without_trusted_certificates_reports_it(
    provider: Provider,
    keys: PublishedKeySet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The file of trusted certificates may be missing."""
    monkeypatch.setenv("SSL_CERT_FILE", "missing.pem")
    with caplog.at_level(logging.WARNING, "tasker.auth"), pytest.raises(TokenKeysUnavailable):
        await keys.find_key("a", "RS256")

    assert "FileNotFoundError" in vars(caplog.records[0])["why"]


def test_keys_for_other_algorithms_are_ignored() -> None:
    """
    Those for encryption, secrets, private ones, those without a name, broken ones.
    """
    private = RSAAlgorithm.to_jwk(rsa_key(), as_dict=True)
    entries: list[Any] = [
        jwk("right"),
        jwk(None),
        jwk("use", use="enc"),
        jwk("uses", use=["sig"]),
        jwk("ops", key_ops=["encrypt"]),
        jwk("operations", key_ops=7),
        {**private, "kid": "private"},
        {"kid": "secret", "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "edwards", "kty": "OKP", "crv": "Ed25519", "x": "AA"},
        jwk("tiny", n="AQAB"),
        jwk("broken", n="?"),
        jwk("number", n=7),
        jwk("kinds", kty=["RSA"]),
        jwk("algorithm", alg=7),
        ec_jwk("point", x="AA"),
        ec_jwk("off the curve", x=ec_jwk("e")["y"]),
        ec_jwk("curve", crv="P-0"),
        7,
        None,
    ]
    results = parse_signature_keys(json.dumps({"keys": entries}).encode())

    assert {"right"} == set(results)


async def test_a_key_that_is_too_short_is_ignored(
    provider: Provider, keys: PublishedKeySet
) -> None:
    """
    RSA keys of less than 2048 bits can be broken.
    """
    entry = {**RSAAlgorithm.to_jwk(rsa_key(9, 1024).public_key(), as_dict=True), "kid": "a"}
    entry.pop("key_ops", None)
    provider.publish(entry)

    assert None is await keys.find_key("a", "RS256")


async def test_an_empty_key_set_removes_all_keys(
    provider: Provider, keys: PublishedKeySet, clock: Seconds
) -> None:
    """Providers publish one after their keys were stolen."""
    await keys.find_key("a", "RS256")
    provider.publish()
    clock.now += 601
    await keys.find_key("a", "RS256")

    await eventually(lambda: not keys._keys)
    assert None is await keys.find_key("a", "RS256")


@pytest.mark.parametrize("path", ["", "/", "/realms/corp"])
async def test_keys_are_found_through_the_issuer(
    provider: Provider, clock: Seconds, path: str
) -> None:
    keys = PublishedKeySet(discovering(provider, path), clock=clock)

    assert await keys.find_key("a", "RS256") is not None


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://id.evil.test"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://id.evil.test/jwks.json"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
async def test_a_discovery_document_of_another_issuer_is_refused(
    provider: Provider, clock: Seconds, document: dict[str, Any]
) -> None:
    """A foreign issuer, or a key URL without HTTPS."""
    keys = PublishedKeySet(discovering(provider, **document), clock=clock)

    with pytest.raises(TokenKeysUnavailable):
        await keys.find_key("a", "RS256")
    assert 1 == provider.asked
