"""Commands that look at a store find the one that server and workers use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.process_state import restored_logging
from typer.testing import CliRunner

from tasker.cli import make_app

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("TASKER_STORE", "TASKER_URL", "TASKER_CONFIG", "TASKER_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with restored_logging():
        yield tmp_path


def test_the_store_of_the_settings_file_is_used(empty_directory: Path) -> None:
    """No other database is created."""
    (empty_directory / "tasker.toml").write_text('store = "sqlite:ours.db"\n')

    result = RUNNER.invoke(make_app(), ["db", "upgrade"])

    assert 0 == result.exit_code, result.output
    assert (empty_directory / "ours.db").exists()
    assert not (empty_directory / ".tasker").exists()


def test_the_command_line_overrides_the_file(empty_directory: Path) -> None:
    (empty_directory / "tasker.toml").write_text('store = "sqlite:ours.db"\n')

    result = RUNNER.invoke(make_app(), ["db", "upgrade", "--store", "sqlite:mine.db"])

    assert 0 == result.exit_code, result.output
    assert (empty_directory / "mine.db").exists()
    assert not (empty_directory / "ours.db").exists()


def test_an_invalid_file_is_reported(empty_directory: Path) -> None:
    """
    No other store is used in its place.
    """
    (empty_directory / "tasker.toml").write_text("store = 5\n")

    result = RUNNER.invoke(make_app(), ["db", "upgrade"])

    assert 2 == result.exit_code
    assert not (empty_directory / ".tasker").exists()


def test_a_secret_file_overrides_the_settings_file(
    empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In a container, `tasker key create` finds the store that the server uses.
    """
    (empty_directory / "tasker.toml").write_text('store = "sqlite:ours.db"\n')
    (empty_directory / "secrets").mkdir()
    (empty_directory / "secrets" / "tasker_store").write_text("sqlite:secret.db\n")
    monkeypatch.setenv("TASKER_SECRETS", "secrets")

    result = RUNNER.invoke(make_app(), ["db", "upgrade"])

    assert 0 == result.exit_code, result.output
    assert (empty_directory / "secret.db").exists()
    assert not (empty_directory / "ours.db").exists()


def test_the_environment_overrides_a_secret_file(
    empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_directory / "secrets").mkdir()
    (empty_directory / "secrets" / "tasker_store").write_text("sqlite:secret.db\n")
    monkeypatch.setenv("TASKER_SECRETS", "secrets")
    monkeypatch.setenv("TASKER_STORE", "sqlite:variable.db")

    result = RUNNER.invoke(make_app(), ["db", "upgrade"])

    assert 0 == result.exit_code, result.output
    assert (empty_directory / "variable.db").exists()
