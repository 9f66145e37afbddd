"""Settings: where they come from, what is refused, and that all are documented."""

import dataclasses
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tasker.config import WorkerSettings
from tasker.configuration import Settings, WorkerSection, load_settings
from tasker.errors import InvalidSettings

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin where there is no file, and no variable that is ours."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TASKER_"):
            monkeypatch.delenv(name)


def write(text: str, name: str = "tasker.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def refusal(overrides: dict[str, Any] | None = None, file: Path | None = None) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(file, overrides)
    return str(caught.value)


def test_without_anything_said_there_are_defaults() -> None:
    settings = load_settings()

    assert ("sqlite", "127.0.0.1", 8080) == (
        settings.store.get_secret_value(),
        settings.server.host,
        settings.server.port,
    )


def test_what_is_nearer_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Defaults, the file, the environment, the command line: each setting by itself.
    """
    write('store = "sqlite:file.db"\n[server]\nport = 1\nhost = "::1"\nburst = 1\n')
    monkeypatch.setenv("TASKER_SERVER__PORT", "2")
    monkeypatch.setenv("TASKER_SERVER__BURST", "2")

    server = load_settings(overrides={"server": {"burst": 3}}).server

    assert ("::1", 2, 3, 30) == (server.host, server.port, server.burst, server.timeout.seconds)


def test_the_file_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[server]\nport = 1\n")
    other = write("[server]\nport = 2\n", "other.toml")

    assert 2 == load_settings(other).server.port
    monkeypatch.setenv("TASKER_CONFIG", "other.toml")
    assert 2 == load_settings().server.port
    monkeypatch.setenv("TASKER_CONFIG", "gone.toml")
    assert "gone.toml cannot be read" in refusal()


@pytest.mark.parametrize(
    ("text", "span"),
    [("5", 5), ("0.5", 0.5), ('"500ms"', 0.5), ('"90s"', 90), ('"5m"', 300), ('"1 h"', 3600)],
)
def test_lengths_of_time_have_units(text: str, span: float) -> None:
    write(f"[server]\ntimeout = {text}\n")

    assert timedelta(seconds=span) == load_settings().server.timeout


def test_lists_are_json_or_have_commas_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ('["a", "b"]', "a,b", "a, b"):
        monkeypatch.setenv("TASKER_WORKER__HANDLERS", text)

        assert ("a", "b") == load_settings().worker.handlers


def test_what_is_no_setting_is_refused_with_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Everything at once, each with its place.
    """
    write('[server]\nprot = 1\n[worker]\nslots = "many"\n[sever]\nx = 1\n')
    monkeypatch.setenv("TASKER_STOER", "sqlite")
    monkeypatch.setenv("TASKER_SERVER__PORTT", "1")

    told = refusal().splitlines()

    assert 5 == len(told)
    for start in (
        "TASKER_STOER is no setting; did you mean 'store'?",
        "tasker.toml: server.prot is no setting; did you mean 'port'?",
        "TASKER_SERVER__PORTT is no setting; did you mean 'port'?",
        "tasker.toml: worker.slots: input should be a valid integer",
        "tasker.toml: sever is no setting; did you mean 'server'?",
    ):
        assert any(line.startswith(start) for line in told), (start, told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = [", "tasker.toml is not TOML"),
        ("[server]\nport = 70000", "server.port: input should be less than or equal to 65535"),
        ('[server]\ntimeout = "soon"', "server.timeout: 'soon' is no length of time"),
        ('log_level = "loud"', "log_level: input should be 'debug'"),
        ('[server]\ninputs = "maybe"', "server.inputs: input should be 'enforce'"),
        ("server = 5", "server: input should be a valid dictionary"),
        ("[worker]\nlease = 0.1", "worker.lease: input should be greater than or equal to"),
    ],
)
def test_what_is_wrong_is_told(text: str, told: str) -> None:
    write(text)

    assert told in refusal()


def test_variables_that_orchestrators_set_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A service called `tasker` makes Kubernetes set these in every pod.
    """
    for name, value in {
        "TASKER_PORT": "tcp://10.0.0.1:8080",
        "TASKER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "TASKER_SERVICE_HOST": "10.0.0.1",
        "TASKER_SERVICE_PORT_HTTP": "8080",
        "TASKER_SERVER_PORT": "tcp://10.0.0.2:8080",
        "TASKER_SERVER_SERVICE_HOST": "10.0.0.2",
    }.items():
        monkeypatch.setenv(name, value)

    assert 8080 == load_settings().server.port


def test_secrets_are_never_shown() -> None:
    url = "postgresql://tasker:swordfish@db/tasker?schema=x&password=trout"
    settings = load_settings(overrides={"store": url})

    assert "swordfish" not in f"{settings!r} {settings} {settings.shown()} {settings.model_dump()}"
    assert "trout" not in f"{settings!r} {settings.shown()}"
    assert (
        "postgresql://tasker:********@db/tasker?schema=x&password=********"
        == (settings.shown()["store"])
    )
    assert "swordfish" not in refusal({"store": url, "server": {"port": "x"}})


def test_a_worker_has_the_settings_that_workers_have() -> None:
    """
    With the same defaults.
    """
    own = {field.name: field.default for field in dataclasses.fields(WorkerSettings)}
    section = WorkerSection()

    assert WorkerSettings() == section.settings(None)
    assert "test" == section.settings("test").environment
    assert set(own) - {"environment"} == set(WorkerSection.model_fields) - {
        "handlers",
        "templates",
        "embedded",
        "metrics",
    }


def names(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, Any, str]]:
    """List all settings: dotted name, default, description."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names(field.annotation, f"{within}{name}.")
        else:
            yield f"{within}{name}", field.default, field.description or ""


def test_every_setting_is_documented() -> None:
    """
    And nothing else is.
    """
    documented = set(re.findall(r"^\| `([a-z_.]+)`", DOCS.read_text(), re.MULTILINE))

    assert {name for name, _, _ in names(Settings)} == documented


def test_every_setting_says_what_it_is() -> None:
    assert [] == [name for name, _, description in names(Settings) if not description]
