"""Settings: where they come from, what is refused, and that all are documented."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tasker.api.docstrings import attribute_docstrings
from tasker.errors import InvalidSettings
from tasker.redact import redact_passwords
from tasker.settings import Settings, WorkerSection, WorkerSettings, load_settings

DOCS = Path(__file__).parent.parent / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin where there is no file, and no variable of Tasker."""
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


def test_all_settings_have_defaults() -> None:
    settings = load_settings()

    assert ("sqlite", "127.0.0.1", 8080) == (
        settings.store.get_secret_value(),
        settings.server.host,
        settings.server.port,
    )


def test_later_sources_override_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, file, environment, command line: for each setting."""
    write('store = "sqlite:file.db"\n[server]\nport = 1\nhost = "::1"\nburst = 1\n')
    monkeypatch.setenv("TASKER_SERVER__PORT", "2")
    monkeypatch.setenv("TASKER_SERVER__BURST", "2")

    server = load_settings(overrides={"server": {"burst": 3}}).server

    assert ("::1", 2, 3, 30) == (server.host, server.port, server.burst, server.timeout.seconds)


def test_the_settings_file_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_durations_have_units(text: str, span: float) -> None:
    write(f"[server]\ntimeout = {text}\n")

    assert timedelta(seconds=span) == load_settings().server.timeout


def test_lists_are_json_or_have_commas_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ('["a", "b"]', "a,b", "a, b"):
        monkeypatch.setenv("TASKER_WORKER__HANDLERS", text)

        assert ("a", "b") == load_settings().worker.handlers


def test_unknown_settings_are_refused_with_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are listed with their source."""
    write('[server]\nprot = 1\n[worker]\nslots = "many"\n[sever]\nx = 1\n')
    monkeypatch.setenv("TASKER_STOER", "sqlite")
    monkeypatch.setenv("TASKER_SERVER__PORTT", "1")

    lines = refusal().splitlines()

    assert 5 == len(lines)
    for start in (
        "TASKER_STOER is not a setting; did you mean 'store'?",
        "tasker.toml: server.prot is not a setting; did you mean 'port'?",
        "TASKER_SERVER__PORTT is not a setting; did you mean 'port'?",
        "tasker.toml: worker.slots: must be an integer",
        "tasker.toml: sever is not a setting; did you mean 'server'?",
    ):
        assert any(line.startswith(start) for line in lines), (start, lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "tasker.toml is not valid TOML"),
        ("[server]\nport = 70000", "server.port: must be at most 65535, not 70000"),
        ('[server]\ntimeout = "soon"', "server.timeout: must be a number of seconds, or text"),
        ('log_level = "loud"', "log_level: must be 'debug'"),
        ('[server]\ninputs = "maybe"', "server.inputs: must be 'enforce'"),
        ("server = 5", "server: must be an object"),
        ("[worker]\nlease = 0.1", "worker.lease: must be at least 1s, not 100ms"),
    ],
)
def test_invalid_settings_are_refused_with_their_position(text: str, message: str) -> None:
    write(text)

    assert message in refusal()


def test_variables_set_by_orchestrators_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
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

    assert (
        "swordfish"
        not in f"{settings!r} {settings} {settings.to_redacted_dict()} {settings.model_dump()}"
    )
    assert "trout" not in f"{settings!r} {settings.to_redacted_dict()}"
    assert (
        "postgresql://tasker:********@db/tasker?schema=x&password=********"
        == (settings.to_redacted_dict()["store"])
    )
    assert "swordfish" not in refusal({"store": url, "server": {"port": "x"}})


def test_the_worker_section_becomes_the_settings_of_a_worker() -> None:
    section = WorkerSection(slots=3)

    assert WorkerSettings(slots=3) == section.worker_settings(None)
    assert "test" == section.worker_settings("test").environment
    assert set(WorkerSettings.model_fields) - {"environment"} < set(WorkerSection.model_fields)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 0}, "slots: must be at least 1, not 0"),
        ({"blocked_after": 0.001}, "blocked_after: must be at least 10ms, not 1ms"),
        ({"lease": "soon"}, "lease: must be a number of seconds, or text"),
        ({"grace": -1}, "grace: must not be negative"),
        ({"slotss": 1}, "slotss is not a setting; did you mean 'slots'?"),
    ],
)
def test_settings_of_a_worker_are_validated_on_construction(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSettings) as caught:
        WorkerSettings(**settings)
    assert message in str(caught.value)


def test_settings_of_a_worker_accept_any_duration() -> None:
    settings = WorkerSettings(lease="1m30s", grace=2, attempt_timeout=None)  # type: ignore[arg-type]

    assert (90, 2, None) == (
        settings.lease.seconds,
        settings.grace.seconds,
        settings.attempt_timeout,
    )


def test_settings_can_be_read_from_secret_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They override the file, and variables override them; names are of either case."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "tasker_store").write_text("postgresql://tasker:trout@db/tasker\n")
    (secrets / "TASKER_SERVER__PORT").write_text("2")
    (secrets / "TASKER_SERVER__BURST").write_text("2")
    (secrets / "postgres_password").write_text("trout")
    (secrets / "tasker_directory").mkdir()
    write('store = "sqlite:file.db"\n[server]\nport = 1\nhost = "::1"\n')
    monkeypatch.setenv("TASKER_SECRETS", str(secrets))
    monkeypatch.setenv("TASKER_SERVER__BURST", "3")

    settings = load_settings()

    assert ("postgresql://tasker:trout@db/tasker", "::1", 2, 3) == (
        settings.store.get_secret_value(),
        settings.server.host,
        settings.server.port,
        settings.server.burst,
    )


def test_invalid_secret_files_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tasker_stoer").write_text("swordfish")
    (tmp_path / "tasker_server__port").write_text("swordfish")
    monkeypatch.setenv("TASKER_SECRETS", str(tmp_path))

    message = refusal()

    assert "TASKER_STOER (a secret file) is not a setting; did you mean 'store'?" in message
    assert "TASKER_SERVER__PORT (a secret file): must be an integer" in message
    assert "swordfish" not in message
    monkeypatch.setenv("TASKER_SECRETS", str(tmp_path / "gone"))
    assert re.search("TASKER_SECRETS: directory .* not found", refusal())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://tasker:carp@fish/w#rd@db/tasker",
        "postgresql://tasker:carp:fish@db/tasker",
        "postgresql://tasker@host:carp@fish@db/tasker",
        "postgresql://db/tasker?schema=x&password=carpfish&sslmode=require",
        "https://tasker:carpfish@id.example.com/",
    ],
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    shown = redact_passwords(f"cannot connect to {url}")

    assert [] == [part for part in ("carp", "fish", "w#rd") if part in shown]


def test_urls_without_passwords_are_shown_unchanged() -> None:
    text = "from http://127.0.0.1:8080/x?y=1 to postgresql://tasker@db:5432/tasker?schema=x"

    assert text == redact_passwords(text)


def names(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, Any, str]]:
    """List all settings: dotted name, default, description."""
    described = attribute_docstrings(model)
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from names(field.annotation, f"{within}{name}.")
        else:
            yield f"{within}{name}", field.default, described.get(name, "")


def documented() -> dict[str, str]:
    """Return the descriptions of docs/settings.md by setting."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| [^|]* \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    return dict(rows)


def test_every_setting_is_documented() -> None:
    """The page documents no other settings."""
    expected = {name: " ".join(text.split()) for name, _, text in names(Settings)}

    assert expected == documented()


def test_every_setting_has_a_description() -> None:
    assert [] == [name for name, _, description in names(Settings) if not description]
