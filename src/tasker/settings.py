"""The settings of a process and their sources.

Sources, each overriding the previous one: the defaults, one TOML file (`tasker.toml` in the
working directory, or what `--config` or TASKER_CONFIG names), secret files (/run/secrets, or
the directory that TASKER_SECRETS names), environment variables, and the command line. In a
variable, and as the name of a secret file, `server.port` is TASKER_SERVER__PORT. Unknown
settings are rejected, with a suggestion.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from enum import Enum, StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from tasker.codec import DEFAULT_LIMIT
from tasker.durations import format_duration, parse_duration
from tasker.errors import InvalidSettings
from tasker.redact import redact_passwords
from tasker.suggest import did_you_mean
from tasker.validation import describe_validation_error

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FILE = "tasker.toml"
SECRETS = Path("/run/secrets")
PREFIX = "TASKER_"
HIDDEN = "********"

_NOT_SETTINGS = frozenset(
    {
        "ACTOR",
        "API_KEY",
        "CHROMIUM",
        "CONFIG",
        "DEBUG",
        "FOUNDING_DOCUMENTS",
        "REQUIRE",
        "SDK",
        "SECRETS",
        "TOKEN",
        "URL",
    }
)
"""Environment variables that have the prefix `TASKER_` but are not settings."""

_OF_TESTS = "TEST_"
_OF_KUBERNETES = re.compile(r".*(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


Seconds = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A duration >= 0; see `durations.parse_duration`."""


def _duration_bounds_validator(least: str, most: str | None = None) -> AfterValidator:
    """Return a validator that rejects durations outside the bounds."""

    def check_duration_bounds(length: timedelta) -> timedelta:
        if length < parse_duration(least):
            raise ValueError(f"must be at least {least}, not {format_duration(length)}")
        if most is not None and length > parse_duration(most):
            raise ValueError(f"must be at most {most}, not {format_duration(length)}")
        return length

    return AfterValidator(check_duration_bounds)


LOG_URL_NAMES = frozenset(
    {
        *("task_id", "correlation_id", "namespace", "template", "version", "step", "attempt"),
        *("from", "to"),
    }
)


def _check_log_url(url: str) -> str:
    """Return the address of a log store if its placeholders are known."""
    try:
        url.format_map(dict.fromkeys(LOG_URL_NAMES, "x"))
    except (KeyError, ValueError, AttributeError, IndexError, TypeError):
        names = ", ".join(f"{{{name}}}" for name in sorted(LOG_URL_NAMES))
        raise ValueError(f"may contain the placeholders {names} and no other braces") from None
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    return url


class SettingsSection(BaseModel):
    """One table of the file. Its validator is built on first use: a command uses few of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class JsonSchemaMismatchAction(StrEnum):
    """What happens to an input or a result that does not match its JSON Schema."""

    ENFORCE = "enforce"  #: an error
    WARN = "warn"  #: a warning in the log
    OFF = "off"  #: schemas are not checked


class StepLogMode(StrEnum):
    """Which log records of steps are stored."""

    ALL = "all"
    ERRORS = "errors"  #: of attempts that fail
    OFF = "off"


class AccessLogMode(StrEnum):
    """Which requests a server logs."""

    ALL = "all"
    ERRORS = "errors"  #: those answered with a status of 400 or more
    OFF = "off"


# -------------------------------------------------------------------- workers


class _CommonWorkerSettings(SettingsSection):
    """Settings that the file and `WorkerSettings` share."""

    slots: Annotated[int, Field(ge=1)] = 100
    """Maximum number of attempts that run at the same time, >= 1. Each running sync handler
    occupies a thread."""

    lease: Annotated[Seconds, _duration_bounds_validator("1s")] = timedelta(seconds=30)
    """How long a worker may go without renewing its lease before other workers take over its steps,
    >= 1 s. A worker renews its lease each time a third of this time has passed."""

    grace: Seconds = timedelta(seconds=20)
    """Time limit for running attempts to finish at shutdown. Attempts that take longer are
    released."""

    poll: Annotated[Seconds, _duration_bounds_validator("1ms")] = timedelta(seconds=1)
    """Maximum time between two claims of an idle worker."""

    attempt_timeout: Annotated[Seconds, _duration_bounds_validator("1ms")] | None = None
    """Time limit for attempts whose step sets none; if absent, there is no limit."""

    results: JsonSchemaMismatchAction = JsonSchemaMismatchAction.WARN
    """What to do with a result that does not match its step's `result_schema`: `enforce` (reject
    it), `warn` (log a warning) or `off`."""

    result_limit: Annotated[int, Field(ge=1)] = DEFAULT_LIMIT
    """Maximum size of a result, in bytes."""

    memory: Annotated[int, Field(ge=0)] = 16 << 20
    """Maximum size, in bytes, of the cache that keeps inputs and results, so that the worker need
    not read them again."""

    processes: Annotated[int, Field(ge=0)] = 0
    """Maximum number of processes for handlers with `process=True`; processes are started when
    needed. 0 means one per core."""

    retention: Annotated[Seconds, _duration_bounds_validator("1s")] | None = None
    """How long a task is kept after its end if its template sets no `retention`; if absent, the
    task is kept forever. Each worker deletes tasks in all namespaces, so if workers have different
    values, the shortest applies."""

    event_retention: Annotated[Seconds, _duration_bounds_validator("1m")] = timedelta(days=7)
    """How long domain events and their deliveries are kept. Undelivered events are kept until they
    are delivered; dead deliveries are kept for at least 30 days. If workers have
    different values, the shortest applies."""

    step_logs: StepLogMode = StepLogMode.ALL
    """Which attempts' log records and printed lines are kept: those of `all` attempts, only those
    of attempts that fail (`errors`), or none (`off`)."""

    step_log_retention: Annotated[Seconds, _duration_bounds_validator("1m")] = timedelta(days=7)
    """How long steps' log records are kept, at most until their task is deleted. If workers have
    different values, the shortest applies."""

    deliver_for: Annotated[Seconds, _duration_bounds_validator("1s")] = timedelta(days=3)
    """How long a failed event delivery is retried before it is marked dead."""

    subscriber_timeout: Annotated[Seconds, _duration_bounds_validator("1ms")] = timedelta(
        seconds=60
    )
    """Time limit for each call of an event subscriber."""

    webhooks: bool = True
    """Whether the worker also delivers events to webhooks."""

    public_url: str | None = None
    """Public URL of the server, such as `https://tasker.example.com`, with which `completion_url`
    begins. If absent, `completion_url` is only a path."""

    http: bool = False
    """Whether the worker also runs `http:` steps, which are HTTP requests declared in templates."""

    http_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Private networks that `http:` steps and webhooks may reach, such as `10.1.0.0/16`; if empty,
    they reach only public addresses."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Labels of this worker that steps can require, such as `{gpu = "true"}`."""

    blocked_after: Annotated[Seconds, _duration_bounds_validator("10ms")] = timedelta(seconds=1)
    """How long (at least 10 ms) a handler may block the event loop before the log names it in a
    warning."""


class WorkerSettings(_CommonWorkerSettings):
    """Settings of one worker. Raises InvalidSettings for a value that is out of bounds."""

    environment: str | None = None
    """The environment whose overrides apply to templates; if absent, no overrides apply."""

    @model_validator(mode="wrap")
    @classmethod
    def _convert_validation_error(
        cls, values: Any, handler: ModelWrapValidatorHandler[Self]
    ) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            raise InvalidSettings("\n".join(map(_describe_problem, problems))) from None


class WorkerSection(_CommonWorkerSettings):
    """Settings of a worker, in its own process or inside the server."""

    handlers: tuple[str, ...] = ()
    """Handlers and workflows to load: names of modules, files or directories. `payments=FILE` binds
    all handlers of the file to the namespace `payments`."""

    templates: tuple[Path, ...] = ()
    """YAML files, or directories of YAML files, with the templates that the worker registers when
    it starts."""

    namespaces: tuple[str, ...] = ()
    """Namespaces for handlers that declare no namespace and do not appear in `templates`; `*` means
    all."""

    embedded: bool = False
    """Whether `tasker server` also runs a worker in its own process."""

    metrics: str | None = None
    """Address at which a worker serves `/metrics`, `/live` and `/ready`, such as
    `127.0.0.1:9100`; if absent, it serves none of them. The metrics of a worker inside a server are
    part of the server's `/metrics`."""

    def worker_settings(self, environment: str | None) -> WorkerSettings:
        """Return the settings of a worker."""
        values = {name: getattr(self, name) for name in _CommonWorkerSettings.model_fields}
        return WorkerSettings(environment=environment, **values)


# --------------------------------------------------------------------- server


class ServerSettings(SettingsSection):
    """Settings of the server."""

    host: str = "127.0.0.1"
    """Address to listen on. Authentication is required unless this is a loopback address."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; with 0, the operating system chooses a free port."""

    base_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=200)] = ""
    """Path below which a proxy publishes the server, such as `/tools/tasker`; the server accepts
    requests with and without this path. If empty, the server is at the host's root."""

    ui: bool = True
    """Whether the server serves the web UI, at `/ui/`."""

    log_url: Annotated[str, AfterValidator(_check_log_url)] | None = None
    """URL of your log store, to which the web UI links from a step's logs, such as
    `https://logs.example.com/?q={task_id}&from={from}`; it may contain `{task_id}`,
    `{correlation_id}`, `{namespace}`, `{template}`, `{version}`, `{step}`, `{attempt}`, `{from}`
    and `{to}`. If absent, the web UI has no such link."""

    docs: bool = False
    """Whether the server describes its API on an interactive page at `/docs`. The page loads
    scripts from another host."""

    body_bytes: Annotated[int, Field(ge=1)] = 2 << 20
    """Maximum size of a request's body, in bytes."""

    bulk_body_bytes: Annotated[int, Field(ge=1)] = 32 << 20
    """Maximum size, in bytes, of the body of a request that creates tasks or registers templates in
    bulk, or settles a remote worker's attempts."""

    bulk_tasks: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Maximum number of tasks that one request may create."""

    timeout: Seconds = timedelta(seconds=30)
    """Time limit of a request. Long polls and streams are exempt."""

    longest_wait: Seconds = timedelta(seconds=60)
    """Maximum time that a request may wait for a task to end; a longer `timeout` is shortened to
    it."""

    longest_stream: Seconds = timedelta(hours=1)
    """Maximum time that a stream of events stays open before the server closes it and the client
    reconnects."""

    concurrency: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of concurrent requests, not counting long polls and streams. Requests
    without a credential (logins, completions, provider hooks) have separate limits: a quarter of
    this number in total, and a sixteenth for each address."""

    streams: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of concurrent long polls and streams."""

    connections: Annotated[int, Field(ge=1)] = 5000
    """Maximum number of open connections. When this number is reached, a new connection replaces
    the oldest connection that has no request in progress. If the process is not allowed to open
    that many file descriptors, the server lowers this maximum at startup."""

    connections_per_address: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of open connections from one address that is not among `proxies`."""

    header_timeout: Annotated[Seconds, _duration_bounds_validator("100ms")] = timedelta(seconds=10)
    """How long a client may take to send a request's head, counted from the opening of the
    connection or, on a connection that is already in use, from the request's first byte."""

    workers: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of remote workers that may wait for claims and renewals. These requests do not
    count towards `streams`."""

    worker_lease: Annotated[Seconds, _duration_bounds_validator("1s")] = timedelta(seconds=30)
    """How long a remote worker may go without renewing its lease before other workers take over its
    steps, >= 1 s."""

    public_url: str | None = None
    """Public URL of the server, such as `https://tasker.example.com`, for the completion of remote
    workers' external steps and the callback of logins. It must include the base path. If absent,
    `completion_url` is only a path, and the callback is at the address that the browser used."""

    results: JsonSchemaMismatchAction = JsonSchemaMismatchAction.WARN
    """What to do with a result from a remote worker that does not match its step's `result_schema`:
    `enforce` (reject it), `warn` (log a warning) or `off`."""

    rate: Annotated[float | None, Field(gt=0)] = None
    """Average requests per second allowed to each caller; if absent, the rate is unlimited."""

    burst: Annotated[int, Field(ge=1)] = 100
    """Number of requests that a caller may send in immediate succession before `rate` applies."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the API from a browser (CORS); if empty, no page may call it."""

    proxies: tuple[str, ...] = ()
    """Addresses of proxies whose `X-Forwarded-*` headers are trusted."""

    inputs: JsonSchemaMismatchAction = JsonSchemaMismatchAction.ENFORCE
    """What to do with a context that does not match its template's `input_schema`: `enforce`
    (reject it), `warn` (log a warning) or `off`."""

    access_log: AccessLogMode = AccessLogMode.ERRORS
    """Which requests are logged: `all`, `errors` (requests whose response has a status of 400 or
    more), or `off`."""

    drain: Seconds = timedelta(0)
    """How long the server still accepts requests at shutdown while `/ready` returns 503, so that
    load balancers stop sending requests. `grace` begins afterwards."""

    grace: Seconds = timedelta(seconds=20)
    """How long running requests may take to finish at shutdown."""


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Algorithms that sign tokens with a private key and verify them with the public key."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class TokenClaimNames(SettingsSection):
    """Names of the token claims to read, or paths to them (`realm_access.roles`)."""

    subject: str = "sub"
    """The claim with the caller's name, which the audit log records unless the token has a verified
    email address."""

    email: str = "email"
    """The claim with the caller's email address. A namespace's policy identifies its approvers by
    this address."""

    permissions: tuple[str, ...] = ("permissions", "scope")
    """The claims that contain permissions; the value of each is a list or a space-separated string.
    Unknown permissions are ignored."""

    roles: str = "roles"
    """The claim that contains the names of the caller's roles, as a list or a space-separated
    string."""

    namespaces: str = "namespaces"
    """The claim with the namespaces in which the permissions and roles apply, as a list or a
    space-separated string; `*` means all."""

    groups: str = "groups"
    """The claim with the caller's groups, as a list or a space-separated string. Members of the
    group NAME can decide approvals that are assigned to `role:NAME`."""

    team: str = "team"
    """The claim with the caller's team, for coordinators."""


class OidcSettings(SettingsSection):
    """Login to the web UI with an identity provider (OpenID Connect)."""

    client_id: str | None = None
    """This server's client id at the identity provider `auth.issuer`. If absent, people can log in
    only with API keys."""

    client_secret: SecretStr | None = None
    """This server's client secret at the identity provider. If absent, only PKCE protects the
    login."""

    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """The scopes that the server requests from the identity provider; they must include
    `openid`."""


class AuthSettings(SettingsSection):
    """Authentication and authorization of callers."""

    enabled: bool | None = None
    """Whether callers must authenticate. If absent, callers need not authenticate. This setting is
    required if any other setting of `[auth]` is set."""

    api_keys: bool = True
    """Whether callers can authenticate with API keys from the store."""

    cache: Annotated[Seconds, _duration_bounds_validator("0s", "1m")] = timedelta(seconds=4)
    """How long a verified credential is cached. A revocation takes effect within this time; open
    waits and streams end at most one second later."""

    session: Annotated[Seconds, _duration_bounds_validator("1m", "30d")] = timedelta(hours=12)
    """How long a person stays logged in to the web UI, whether or not it is used."""

    session_idle: Annotated[Seconds, _duration_bounds_validator("1m", "30d")] = timedelta(hours=1)
    """How long a person stays logged in to the web UI without using it."""

    jwt_public_key: str | None = None
    """The public key that verifies tokens, as PEM."""

    jwt_public_key_file: Path | None = None
    """The PEM file with the public key that verifies tokens."""

    jwks_url: str | None = None
    """HTTPS URL at which the identity provider publishes its current keys. If neither this URL nor
    a fixed key is set, the server takes the URL from the discovery document of `issuer`."""

    jwks_allow_http: bool = False
    """Whether the published keys may be fetched from another machine over plain HTTP. Anyone who
    controls the network to that machine could then forge tokens."""

    jwks_refresh: Annotated[Seconds, _duration_bounds_validator("10s")] = timedelta(minutes=10)
    """How long the server uses the published keys before it fetches them again."""

    jwks_stale: Seconds = timedelta(hours=1)
    """How long after `jwks_refresh` the published keys stay in use if they cannot be fetched
    again."""

    jwks_timeout: Annotated[Seconds, _duration_bounds_validator("1ms", "30s")] = timedelta(
        seconds=5
    )
    """Time limit for fetching the published keys."""

    issuer: str | None = None
    """The value that the claim `iss` of a token must equal."""

    audience: str | None = None
    """The value that the claim `aud` of a token must equal or contain."""

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """Accepted signature algorithms."""

    leeway: Annotated[Seconds, _duration_bounds_validator("0s", "5m")] = timedelta(seconds=30)
    """Tolerated clock difference when the claims `exp`, `nbf` and `iat` are checked."""

    oidc: OidcSettings = Field(default_factory=OidcSettings)
    claims: TokenClaimNames = Field(default_factory=TokenClaimNames)
    """Names of the claims in tokens."""

    trust_email: bool = False
    """Whether an email address is trusted if the token has no `email_verified` claim. Anyone who
    can choose an email address at the identity provider can then act as the owner of that address,
    even as an approver."""

    default_roles: tuple[str, ...] = ()
    """Roles for tokens that contain neither permissions nor roles."""

    default_namespaces: tuple[str, ...] = ()
    """Namespaces for tokens that name no namespaces; `*` means all."""

    roles: dict[str, tuple[str, ...]] = {}
    """Additional roles, each with its permissions."""

    coordinator: str | None = None
    """The class that authorizes requests, written `package.module:Class`. If absent, only the
    caller's permissions and namespaces determine what is allowed."""

    authenticator: str | None = None
    """The class that authenticates requests with neither an API key nor an accepted token, written
    `package.module:Class`. If absent, the server rejects these requests."""

    metrics_public: bool = False
    """Whether `/metrics` is served without authentication."""

    @property
    def accepts_tokens(self) -> bool:
        """Whether callers can authenticate with JSON Web Tokens."""
        if self.oidc.client_id is not None and not self.audience:
            return False
        return self._has_configured_jwt_key or bool(self.jwks_url or self.issuer or self.audience)

    @property
    def has_oidc_login(self) -> bool:
        """Whether people can log in with an identity provider."""
        return self.oidc.client_id is not None

    @property
    def fetches_jwt_keys(self) -> bool:
        """Whether the keys for tokens are fetched from the identity provider."""
        return self.accepts_tokens and not self._has_configured_jwt_key

    @property
    def _has_configured_jwt_key(self) -> bool:
        return bool(self.jwt_public_key or self.jwt_public_key_file)

    def _is_configured(self) -> bool:
        """Return whether any setting differs from its default."""
        fields = type(self).model_fields
        return any(
            getattr(self, name) != field.get_default(call_default_factory=True)
            for name, field in fields.items()
        )

    @field_validator("jwt_public_key")
    @classmethod
    def _reject_private_key(cls, key: str | None) -> str | None:
        if key is not None and "PRIVATE KEY" in key:
            raise ValueError(
                "must be a public key, but this is a private key, which the server does not need"
            )
        return key

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        for right, rule in (
            (
                self.enabled is not None or not self._is_configured(),
                "enabled must be set to true or false when any other setting of [auth] is given",
            ),
            (
                sum(map(bool, (self.jwt_public_key, self.jwt_public_key_file, self.jwks_url))) <= 1,
                "only one of jwt_public_key, jwt_public_key_file and jwks_url can be set",
            ),
            (
                bool(self.issuer and self.audience) or not self.accepts_tokens,
                "issuer and audience must be set, because the key may also sign tokens for other"
                " services",
            ),
            (
                self.api_keys
                or self.accepts_tokens
                or self.has_oidc_login
                or self.authenticator
                or not self.enabled,
                "no credential would be accepted: api_keys is false, no key verifies tokens, and"
                " there is no authenticator",
            ),
        ):
            if not right:
                raise ValueError(rule)
        if self.has_oidc_login:
            if not self.issuer:
                raise ValueError("oidc.client_id requires issuer, the identity provider's URL")
            if "openid" not in self.oidc.scopes:
                raise ValueError("oidc.scopes must contain openid")
            check_key_url(self.issuer, "issuer", allow_http=self.jwks_allow_http)
        if self.fetches_jwt_keys:
            name = "jwks_url" if self.jwks_url else "issuer"
            check_key_url(getattr(self, name), name, allow_http=self.jwks_allow_http)
        return self


def check_key_url(url: str, name: str, *, allow_http: bool) -> None:
    """Raise ValueError, which calls the URL `name`, unless keys may be fetched from it."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{name} must be a URL such as https://id.example.com/jwks.json")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            f"{name} must not contain a user name or password: no credentials are needed"
        )
    if parts.scheme == "http" and not allow_http and parts.hostname not in _LOOPBACK:
        raise ValueError(f"{name} must use https: over http, an attacker could replace the keys")


class TelemetrySection(SettingsSection):
    """Export of traces and metrics to collectors."""

    traces: bool = False
    """Whether spans and metrics are sent over OTLP, to the destination set by the `OTEL_*`
    environment variables."""

    service: str = "tasker"
    """The name of this service in traces."""


# ------------------------------------------------------------ the whole, and its sources


class Settings(SettingsSection):
    """All settings of a process."""

    store: SecretStr = SecretStr("sqlite")
    """The store: `sqlite` (the file `.tasker/tasker.db`), `sqlite:FILE` or `postgresql://...`."""

    environment: str | None = None
    """The environment whose overrides apply to templates; if absent, no overrides apply."""

    policies: Path | None = None
    """A file of namespace policies that the server declares when it starts."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of the log records that are written."""

    log_format: Literal["console", "json"] = "console"
    """Format of log records: `console` for people, or `json` for one JSON object per line."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    worker: WorkerSection = Field(default_factory=WorkerSection)
    telemetry: TelemetrySection = Field(default_factory=TelemetrySection)

    def to_redacted_dict(self) -> dict[str, Any]:
        """Return all settings as plain values, with secrets hidden."""
        return {name: _hide_secrets(getattr(self, name)) for name in type(self).model_fields}


class _SettingInputs(NamedTuple):
    """The unvalidated input of `load_settings`."""

    file: Mapping[str, Any]
    secrets: Mapping[str, str]  #: lower-case name of a variable -> text


_inputs: ContextVar[_SettingInputs] = ContextVar("tasker_settings")


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of this process.

    Args:
        file: The file to read; None: the file in TASKER_CONFIG, or `tasker.toml` if it exists.
        overrides: Settings of the command line, as `{"server": {"port": 80}}`.

    Raises:
        InvalidSettings: A file cannot be read, or a setting is unknown or invalid; the message
            has a line for each problem.
    """
    path, values = _read_settings_file(file)
    secrets = _read_secret_files()
    problems = [
        *_unknown_name_problems(os.environ),
        *_unknown_name_problems(secrets, " (a secret file)"),
    ]
    token = _inputs.set(
        _SettingInputs(values, {name.lower(): text for name, text in secrets.items()})
    )
    try:
        settings = _build_settings_class()(**(overrides or {}))
    except ValidationError as error:
        places = _SettingSources(path, overrides or {}, secrets)
        problems += [_describe_problem(each, places) for each in error.errors(include_url=False)]
    finally:
        _inputs.reset(token)
    if problems:
        raise InvalidSettings("\n".join(problems))
    return settings


def configured_store_url() -> str | None:
    """Return the store URL in a secret file or in the settings file, or None if neither has one.

    Raises:
        InvalidSettings: A file cannot be read, or the store in it is not text.
    """
    if secret := _read_secret_files().get(f"{PREFIX}STORE"):
        return secret
    path, values = _read_settings_file(None)
    url = values.get("store")
    if url is not None and not isinstance(url, str):
        raise InvalidSettings(f"{path}: store must be a URL in quotes, not {url!r:.100}")
    return url


@cache
def _build_settings_class() -> type[Settings]:
    """Return `Settings` with its sources; imports pydantic-settings only when needed."""
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )

    class EnvironmentSource(EnvSettingsSource):
        """The environment; lists are JSON, or separated by commas."""

        def decode_complex_value(self, field_name: str, field: "FieldInfo", value: Any) -> Any:
            try:
                return super().decode_complex_value(field_name, field, value)
            except ValueError:
                return [part.strip() for part in str(value).split(",")]

    class SecretFileSource(EnvironmentSource):
        """Files named like variables, whose content is the value."""

        def _load_env_vars(self) -> Mapping[str, str | None]:
            return _inputs.get().secrets

    class TomlFileSource(PydanticBaseSettingsSource):
        """The settings file, in TOML."""

        def get_field_value(self, field: "FieldInfo", field_name: str) -> tuple[Any, str, bool]:
            return _inputs.get().file.get(field_name), field_name, False

        def __call__(self) -> dict[str, Any]:
            return dict(_inputs.get().file)

    class LoadedSettings(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            env_prefix=PREFIX,
            env_nested_delimiter="__",
            extra="forbid",
            frozen=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                EnvironmentSource(settings_cls),
                SecretFileSource(settings_cls),
                TomlFileSource(settings_cls),
            )

    return LoadedSettings


def _read_settings_file(given: Path | None) -> tuple[Path, Mapping[str, Any]]:
    """Return the path and the content of the settings file."""
    named = os.environ.get(f"{PREFIX}CONFIG")
    path = given or Path(named or FILE)
    if not (given or named or path.exists()):
        return path, {}
    try:
        return path, tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} is not valid TOML: {error}") from None


def _read_secret_files() -> dict[str, str]:
    """Return the contents of secret files, by the variable that each replaces."""
    named = os.environ.get(f"{PREFIX}SECRETS")
    directory = Path(named) if named else SECRETS
    try:
        files = sorted(directory.iterdir())
    except FileNotFoundError:
        if named is None:
            return {}
        raise InvalidSettings(f"{PREFIX}SECRETS: directory {directory} not found") from None
    except OSError as error:
        raise InvalidSettings(f"{directory} cannot be read: {error.strerror}") from None
    secrets = {}
    for file in files:
        if not file.name.upper().startswith(PREFIX) or not file.is_file():
            continue
        try:
            secrets[file.name.upper()] = file.read_text("utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise InvalidSettings(f"{file} cannot be read: {reason}") from None
    return secrets


def _unknown_name_problems(names: Mapping[str, str], suffix: str = "") -> Iterator[str]:
    """Yield a problem for each variable or secret file with the name of an unknown setting."""
    known = set(Settings.model_fields)
    for name in sorted(names):
        if not name.startswith(PREFIX) or _OF_KUBERNETES.fullmatch(name):
            continue
        first = name.removeprefix(PREFIX).partition("__")[0]
        if first in _NOT_SETTINGS or first.lower() in known or first.startswith(_OF_TESTS):
            continue
        guess = did_you_mean(first.lower(), known)
        yield f"{name}{suffix} is not a setting{guess}; see docs/settings.md"


class _SettingSources(NamedTuple):
    """Possible sources of a setting."""

    file: Path
    overrides: Mapping[str, Any]
    secrets: Mapping[str, str]

    def describe_source(self, path: list[str]) -> str:
        """Return the source of a setting: a variable, the file, or the command line."""
        given: Any = self.overrides
        for part in path:
            given = given.get(part) if isinstance(given, Mapping) else None
        dotted = ".".join(path)
        if given is not None:
            return dotted
        for length in range(len(path), 0, -1):
            variable = PREFIX + "__".join(path[:length]).upper()
            if variable in os.environ:
                return variable
            if variable in self.secrets:
                return f"{variable} (a secret file)"
        return f"{self.file}: {dotted}"


def _describe_problem(error: Mapping[str, Any], places: _SettingSources | None = None) -> str:
    """Return a line that describes the problem of a setting and its source."""
    path = [str(part) for part in error["loc"]]
    place = places.describe_source(path) if places else ".".join(path)
    if error["type"] == "extra_forbidden":
        known = _setting_names_below(path[:-1]) if places else list(WorkerSettings.model_fields)
        guess = did_you_mean(path[-1], known)
        return f"{place} is not a setting{guess}; allowed: {', '.join(sorted(known))}"
    given = f", not {error['input']}" if error["type"] in _OUT_OF_BOUNDS else ""
    return f"{place}: {describe_validation_error(error)}{given}"


_OUT_OF_BOUNDS = {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}


def _setting_names_below(path: list[str]) -> list[str]:
    """List the settings below a place."""
    section: type[BaseModel] = Settings
    for part in path:
        field = section.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, BaseModel):
            return []
        section = field.annotation
    return list(section.model_fields)


def _hide_secrets(value: Any) -> Any:
    """Return a value without its secrets."""
    match value:
        case SecretStr():
            return redact_passwords(value.get_secret_value(), mask=HIDDEN)
        case BaseModel():
            return {
                name: HIDDEN if name == "client_secret" and part else _hide_secrets(part)
                for name in type(value).model_fields
                for part in (getattr(value, name),)
            }
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _hide_secrets(part) for key, part in value.items()}
        case tuple() | frozenset():
            return [_hide_secrets(part) for part in value]
        case Enum():
            return value.value
        case Path():
            return str(value)
    return value
