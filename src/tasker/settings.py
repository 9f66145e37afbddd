"""All settings of a server and its workers: defaults, one TOML file, the environment."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from tasker.config import SchemaMode

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?", re.ASCII)


def _span(value: object) -> object:
    """Read a length of time: seconds, or a number with a unit."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    if isinstance(value, str) and (found := _SPAN.fullmatch(value.strip())):
        return timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
    if isinstance(value, str):
        raise ValueError(f'{value!r} is no length of time; write seconds, or "500ms", "5m", "1h"')
    return value


Span = Annotated[timedelta, BeforeValidator(_span)]
"""A length of time: seconds (`30`, `0.5`) or a number with a unit (`"500ms"`, `"5m"`, `"1h"`)."""


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerSettings(Section):
    """How the server behaves."""

    host: str = "127.0.0.1"
    """Address to listen at. One that is not loopback needs authentication."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen at; 0: any that is free."""

    docs: bool = False
    """Whether `/docs` shows the API in a browser. Its page loads scripts from another host."""

    body_bytes: Annotated[int, Field(ge=1)] = 2 << 20
    """Most bytes of a request's body."""

    bulk_body_bytes: Annotated[int, Field(ge=1)] = 32 << 20
    """Most bytes of the body that creates tasks in bulk."""

    bulk_tasks: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most tasks that one request creates."""

    timeout: Span = timedelta(seconds=30)
    """Most time of a request, but of those that wait."""

    longest_wait: Span = timedelta(seconds=60)
    """Most time for which a request may ask to wait for a task."""

    longest_stream: Span = timedelta(hours=1)
    """Most time of a stream of events; clients then connect again."""

    concurrency: Annotated[int, Field(ge=1)] = 1000
    """Most requests under way at once, waits and streams not counted."""

    streams: Annotated[int, Field(ge=1)] = 1000
    """Most waits and streams under way at once."""

    rate: Annotated[float | None, Field(gt=0)] = None
    """Requests per second that each caller may send on average; absent: any number."""

    burst: Annotated[int, Field(ge=1)] = 100
    """Requests that a caller may send at once before `rate` counts."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API from a browser; none: no page may."""

    proxies: tuple[str, ...] = ()
    """Addresses of proxies whose `X-Forwarded-*` headers are believed."""

    inputs: SchemaMode = SchemaMode.ENFORCE
    """What a context that does not fit its template's `input_schema` leads to."""

    access_log: bool = True
    """Whether every request is logged."""

    grace: Span = timedelta(seconds=20)
    """Time that requests under way get at shutdown."""


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""How a token may be signed: by a private key, whose public part the server has."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ClaimNames(Section):
    """Where in a token the facts are: names of claims, or paths (`realm_access.roles`)."""

    subject: str = "sub"
    """Who it is; the name that the audit tells, unless the token has a verified address."""

    email: str = "email"
    """That one's address, by which a namespace's policy names its approvers."""

    permissions: tuple[str, ...] = ("permissions", "scope")
    """Permissions, as a list or separated by spaces. What is none of ours is passed over."""

    roles: str = "roles"
    """Names of roles, as a list or separated by spaces."""

    namespaces: str = "namespaces"
    """Namespaces in which they hold, as a list or separated by spaces; `*`: all."""

    team: str = "team"
    """The team, for coordinators."""


class AuthSettings(Section):
    """Who may call the server, and what they may do."""

    enabled: bool | None = None
    """Whether callers must say who they are. Absent: no, as long as nothing else is set here."""

    api_keys: bool = True
    """Whether API keys of the store are credentials."""

    cache: Annotated[Span, Field(ge=timedelta(0), le=timedelta(minutes=1))] = timedelta(seconds=5)
    """How long a credential that was checked is believed: a revocation takes effect within it."""

    jwt_public_key: str | None = None
    """The public key that verifies tokens, as PEM."""

    jwt_public_key_file: Path | None = None
    """The file of that key."""

    jwks_url: str | None = None
    """Where the identity provider publishes its keys, which may change. HTTPS."""

    jwks_allow_http: bool = False
    """Whether that may be plain HTTP to another machine. Whoever is between may forge tokens."""

    jwks_refresh: Annotated[Span, Field(ge=timedelta(seconds=10))] = timedelta(minutes=10)
    """Age at which the published keys are fetched again."""

    jwks_stale: Annotated[Span, Field(ge=timedelta(0))] = timedelta(hours=1)
    """How much longer they are used while they cannot be fetched."""

    jwks_timeout: Annotated[Span, Field(gt=timedelta(0), le=timedelta(seconds=30))] = timedelta(
        seconds=5
    )
    """Most time of fetching them."""

    issuer: str | None = None
    """The `iss` that tokens must have."""

    audience: str | None = None
    """The `aud` that tokens must have, or have among others."""

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """How tokens may be signed."""

    leeway: Annotated[Span, Field(ge=timedelta(0), le=timedelta(minutes=5))] = timedelta(seconds=30)
    """By how much clocks may differ: for `exp`, `nbf` and `iat`."""

    claims: ClaimNames = ClaimNames()
    """Where in a token the facts are."""

    trust_email: bool = False
    """Whether an address counts without the claim `email_verified`. Whoever may choose
    an address there then passes for its owner, as an approver too."""

    default_roles: tuple[str, ...] = ()
    """Roles of tokens that tell neither permissions nor roles."""

    default_namespaces: tuple[str, ...] = ()
    """Namespaces of tokens that tell none; `*`: all."""

    roles: dict[str, tuple[str, ...]] = {}
    """Roles beside the built-in ones, and their permissions."""

    coordinator: str | None = None
    """Who decides, as `package.module:Class`; absent: permissions and namespaces do."""

    metrics_public: bool = False
    """Whether `/metrics` is open to everybody."""

    @property
    def tokens(self) -> bool:
        """Whether tokens are credentials."""
        return bool(self.jwt_public_key or self.jwt_public_key_file or self.jwks_url)

    def _said(self) -> bool:
        """Tell whether anything is set otherwise than by default."""
        fields = type(self).model_fields
        return any(getattr(self, name) != field.default for name, field in fields.items())

    @field_validator("jwt_public_key")
    @classmethod
    def _public(cls, key: str | None) -> str | None:
        if key is not None and "PRIVATE KEY" in key:
            raise ValueError("this is a private key, which no server needs; give its public part")
        return key

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for right, rule in (
            (
                self.enabled is not None or not self._said(),
                "enabled must be said where anything else of [auth] is: true, or false",
            ),
            (
                sum(map(bool, (self.jwt_public_key, self.jwt_public_key_file, self.jwks_url))) <= 1,
                "jwt_public_key, jwt_public_key_file and jwks_url exclude each other",
            ),
            (
                bool(self.issuer and self.audience) or not self.tokens,
                "tokens need issuer and audience: whoever else the key signs for is not meant",
            ),
            (
                self.tokens or not (self.issuer or self.audience),
                "issuer and audience need a key that verifies tokens: jwks_url, or jwt_public_key",
            ),
            (
                self.api_keys or self.tokens or not self.enabled,
                "no credential would be accepted: api_keys is false, and no key verifies tokens",
            ),
        ):
            if not right:
                raise ValueError(rule)
        if self.jwks_url is not None:
            _check_jwks_url(self.jwks_url, allow_http=self.jwks_allow_http)
        return self


def _check_jwks_url(url: str, *, allow_http: bool) -> None:
    """Raise ValueError unless keys may be fetched from a URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("jwks_url must be a URL as https://id.example.com/.well-known/jwks.json")
    if parts.username is not None or parts.password is not None:
        raise ValueError("jwks_url must have no user and password: published keys are public")
    if parts.scheme == "http" and not allow_http and parts.hostname not in _LOOPBACK:
        raise ValueError("jwks_url must be https: whoever is between could forge tokens")
