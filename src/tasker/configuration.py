"""The configuration of a process: defaults, one TOML file, the environment, the command line.

What comes later wins. The file is `tasker.toml` in the working directory, or what
`--config` or TASKER_CONFIG names. In the environment, `server.port` is called
TASKER_SERVER__PORT. What is no setting is refused, with a guess at what was meant.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tasker.codec import DEFAULT_LIMIT
from tasker.config import SchemaMode, WorkerSettings
from tasker.errors import InvalidSettings
from tasker.redact import redact
from tasker.settings import AuthSettings, Section, ServerSettings, Span
from tasker.suggest import did_you_mean

FILE = "tasker.toml"
PREFIX = "TASKER_"
_OTHERS = frozenset({"ACTOR", "API_KEY", "CONFIG", "DEBUG", "TOKEN", "URL"})  #: read elsewhere
_OF_TESTS = "TEST_"
_OF_KUBERNETES = re.compile(r".*(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
_IN_QUERY = re.compile(r"((?:password|passfile|sslkey)=)[^&\s]*")
_HIDDEN = "********"


class WorkerSection(Section):
    """How a worker behaves, in a process of its own or beside the server."""

    handlers: tuple[str, ...] = ()
    """Where handlers and workflows are: names of modules, files, directories."""

    templates: tuple[Path, ...] = ()
    """YAML files, or directories of them, that are registered at the start."""

    embedded: bool = False
    """Whether the server runs a worker in its own process."""

    metrics: str | None = None
    """Where a worker tells its metrics, as `127.0.0.1:9100`; absent: nowhere, or of one that
    runs in a server, at the server's `/metrics`."""

    slots: Annotated[int, Field(ge=1)] = 100
    """Attempts run at once. Each sync handler that runs takes a thread."""

    lease: Annotated[Span, Field(ge=timedelta(seconds=1))] = timedelta(seconds=30)
    """How long a worker that died keeps its steps from others."""

    grace: Annotated[Span, Field(ge=timedelta(0))] = timedelta(seconds=20)
    """Time that running attempts get to finish at shutdown; then they are handed back."""

    poll: Annotated[Span, Field(gt=timedelta(0))] = timedelta(seconds=1)
    """Longest wait before an idle worker looks for work without having been woken."""

    attempt_timeout: Annotated[Span | None, Field(gt=timedelta(0))] = None
    """Most time of an attempt whose step names no timeout; absent: for ever."""

    results: SchemaMode = SchemaMode.WARN
    """What a result that does not fit its step's `result_schema` leads to."""

    result_limit: Annotated[int, Field(ge=1)] = DEFAULT_LIMIT
    """Most bytes of a result."""

    memory: Annotated[int, Field(ge=0)] = 16 << 20
    """Most bytes of inputs and results kept to save reading them again."""

    processes: Annotated[int, Field(ge=0)] = 0
    """Processes for handlers marked `process=True`; 0: one for each core, when needed."""

    blocked_after: Annotated[Span, Field(gt=timedelta(0))] = timedelta(seconds=1)
    """How long a handler may block the event loop before it is named in the log."""

    def settings(self, environment: str | None) -> WorkerSettings:
        """Tell the settings of a worker."""
        own = {"handlers", "templates", "embedded", "metrics"}
        facts = {name: getattr(self, name) for name in type(self).model_fields if name not in own}
        return WorkerSettings(environment=environment, **facts)


class TelemetrySection(Section):
    """What is told to collectors of traces."""

    traces: bool = False
    """Whether spans and measurements are sent over OTLP. The OTEL_* variables say where to."""

    service: str = "tasker"
    """The name of this service in traces."""


class Settings(BaseSettings):
    """All settings of a process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        nested_model_default_partial_update=True,
    )

    store: SecretStr = SecretStr("sqlite")
    """`sqlite` (the file `.tasker/tasker.db`), `sqlite:FILE` or `postgresql://...`."""

    environment: str | None = None
    """Which of the templates' `environments` applies; absent: none."""

    namespaces: Path | None = None
    """A file of namespace policies, declared at the server's start."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level up log records are written."""

    log_format: Literal["console", "json"] = "console"
    """How log records are written: for people, or a JSON object per line."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    worker: WorkerSection = WorkerSection()
    telemetry: TelemetrySection = TelemetrySection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Variables(settings_cls), _File(settings_cls)

    def shown(self) -> dict[str, Any]:
        """Write all settings as plain values, with secrets hidden."""
        return {name: _shown(getattr(self, name)) for name in type(self).model_fields}


class _Variables(EnvSettingsSource):
    """What the environment says; lists as JSON, or with commas between."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return [part.strip() for part in str(value).split(",")]


class _File(PydanticBaseSettingsSource):
    """What the file says."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return _file_says.get().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return dict(_file_says.get())


_file_says: ContextVar[Mapping[str, Any]] = ContextVar("tasker_file", default=MappingProxyType({}))


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Gather the settings of this process.

    Args:
        file: To be read; None: what TASKER_CONFIG names, or `tasker.toml` where there is one.
        overrides: What the command line says, as `{"server": {"port": 80}}`.

    Raises:
        InvalidSettings: The file cannot be read, or something is no setting, or wrong; the
            message tells everything.
    """
    named = os.environ.get(f"{PREFIX}CONFIG")
    path = file or Path(named or FILE)
    says = _read(path) if file or named or path.exists() else {}
    problems = list(_unknown_variables())
    token = _file_says.set(says)
    try:
        settings = Settings(**(overrides or {}))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        problems += [_told(one, path, overrides or {}) for one in found]
    finally:
        _file_says.reset(token)
    if problems:
        raise InvalidSettings("\n".join(problems))
    return settings


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} is not TOML: {error}") from None


def _unknown_variables() -> Iterator[str]:
    """Say which variables look like settings and are none."""
    known = set(Settings.model_fields)
    for name in sorted(os.environ):
        if not name.startswith(PREFIX):
            continue
        first = name.removeprefix(PREFIX).partition("__")[0]
        if first in _OTHERS or first.lower() in known or first.startswith(_OF_TESTS):
            continue
        if _OF_KUBERNETES.fullmatch(name):
            continue
        guess = did_you_mean(first.lower(), known)
        yield f"{name} is no setting{guess}; see docs/settings.md"


def _told(error: Mapping[str, Any], path: Path, overrides: Mapping[str, Any]) -> str:
    """Say what is wrong with a setting, and where it was said."""
    way = [str(step) for step in error["loc"]]
    place = _place(way, path, overrides)
    if error["type"] == "extra_forbidden":
        known = _names(way[:-1])
        guess = did_you_mean(way[-1], known)
        return f"{place} is no setting{guess}; there are {', '.join(sorted(known))}"
    message = str((error.get("ctx") or {}).get("error") or error["msg"])
    return f"{place}: {message[:1].lower()}{message[1:]}"


def _place(way: list[str], path: Path, overrides: Mapping[str, Any]) -> str:
    """Tell where a setting was said: on the command line, in a variable, in the file."""
    said: Any = overrides
    for step in way:
        said = said.get(step) if isinstance(said, Mapping) else None
    for length in range(len(way), 0, -1):
        variable = PREFIX + "__".join(way[:length]).upper()
        if said is None and variable in os.environ:
            return variable
    dotted = ".".join(way)
    return dotted if said is not None else f"{path}: {dotted}"


def _names(way: list[str]) -> list[str]:
    """List the settings below a place."""
    here: type[BaseModel] = Settings
    for step in way:
        field = here.model_fields.get(step)
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, BaseModel):
            return []
        here = field.annotation
    return list(here.model_fields)


def _shown(value: Any) -> Any:
    """Write a value without what is secret in it."""
    if isinstance(value, SecretStr):
        text = redact(value.get_secret_value(), mask=_HIDDEN)
        return _IN_QUERY.sub(rf"\g<1>{_HIDDEN}", text)
    if isinstance(value, BaseModel):
        return {name: _shown(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {key: _shown(part) for key, part in value.items()}
    if isinstance(value, tuple | frozenset):
        return [_shown(part) for part in value]
    return (
        value.value if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value
    )
