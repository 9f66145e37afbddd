"""What most tests of authentication begin with: namespaces, callers, keys and tokens."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from fastapi import FastAPI

from tasker.api import create_app
from tasker.codec import dumps, new_task_id
from tasker.model import NewTask, StepSpec, TaskId, Template
from tasker.settings import AuthSettings, ServerSettings
from tasker.store.protocol import AuditNote, Store
from tasker.teams.api_keys import generate_key
from tasker.teams.model import NewApiKey

ISSUER, AUDIENCE = "https://id.growthcorp.test/", "tasker"
ACT = AuditNote(actor="the tests")
UNKNOWN_TASK = TaskId("00000000-0000-7000-8000-000000000000")


# ------------------------------------------------------------------------ namespaces


def template(namespace: str, name: str = "refund", version: str = "1.0.0") -> Template:
    """Make a template with two steps."""
    steps = (StepSpec(name="check"), StepSpec(name="pay", dependencies=("check",)))
    return Template(namespace=namespace, name=name, version=version, steps=steps)


async def register(store: Store, *namespaces: str, name: str = "refund") -> None:
    """Give namespaces a template."""
    for namespace in namespaces:
        await store.register_template(template(namespace, name), registered_by="the tests")


async def begin(store: Store, namespace: str, name: str = "refund") -> TaskId:
    """Create a task of a namespace's template."""
    stored = await store.get_template(template(namespace, name).key)
    return (await begin_many(store, stored.id, 1))[0]


async def begin_many(store: Store, template_id: Any, count: int) -> list[TaskId]:
    """Create tasks of a template."""
    news = []
    for _ in range(count):
        task_id = new_task_id()
        news.append(
            NewTask(
                id=task_id,
                template_id=template_id,
                context=dumps({}),
                correlation_id=task_id,
                created_by="the tests",
            )
        )
    created = await store.create_tasks(news)
    return [task_id for task_id, _ in created.tasks]


# --------------------------------------------------------------------------- callers


def calling(
    store: Store,
    credential: str | None = None,
    *,
    auth: AuthSettings | None = None,
    settings: ServerSettings | None = None,
) -> httpx.AsyncClient:
    """Make what calls the API over a store, with a credential as a bearer token."""
    app = create_app(store, settings=settings, auth=auth or AuthSettings(enabled=True))
    return client_of(app, credential)


def client_of(app: FastAPI, credential: str | None = None) -> httpx.AsyncClient:
    """Make a client of an application, with a credential as a bearer token."""
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://server", headers=headers)


async def key(
    store: Store,
    *roles: str,
    name: str = "a key",
    namespaces: Iterable[str] = ("payments",),
    permissions: Iterable[str] = (),
    handlers: Iterable[str] = (),
    expires_at: datetime | None = None,
) -> str:
    """Create an API key; return its text."""
    made = generate_key()
    await store.add_api_key(
        NewApiKey(
            name=name,
            prefix=made.prefix,
            digest=made.digest,
            scopes=tuple(permissions),
            namespaces=tuple(namespaces),
            roles=roles,
            handlers=tuple(handlers),
            expires_at=expires_at,
        ),
        ACT,
    )
    return made.text


# ---------------------------------------------------------------------------- tokens


def rsa_key(no: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return an RSA key by number."""
    return _rsa_key(no, bits)


@cache
def _rsa_key(no: int, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """Return a key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: PrivateKeyTypes) -> str:
    """Write the public part of a key."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(key: PrivateKeyTypes) -> str:
    """Write a key that nobody should send."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def claims(**changed: Any) -> dict[str, Any]:
    """Make the claims of a token that is valid for a minute; None takes a claim out."""
    now = datetime.now(UTC)
    claims = {
        "sub": "jake",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + timedelta(minutes=1),
        "roles": ["operator"],
        "namespaces": ["payments"],
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def token(
    *,
    signed_with: Any = None,
    algorithm: str = "RS256",
    headers: dict[str, Any] | None = None,
    **changed: Any,
) -> str:
    """Make a token; keyword arguments change its claims."""
    secret = rsa_key() if signed_with is None else signed_with
    return jwt.encode(claims(**changed), secret, algorithm=algorithm, headers=headers)


def with_tokens(**changed: Any) -> AuthSettings:
    """Make settings that take tokens signed with `rsa_key()`."""
    fields = {
        "enabled": True,
        "jwt_public_key": public_pem(rsa_key()),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        **changed,
    }
    return AuthSettings(**fields)
