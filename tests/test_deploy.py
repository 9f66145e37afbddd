"""The container image, compose.yaml and the manifests of Kubernetes agree with the code."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasker.configuration import PREFIX, Settings

ROOT = Path(__file__).parents[1]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
OURS = ("upgrade", "server", "worker")


def is_setting(variable: str) -> bool:
    """Return whether a variable of the environment names a setting."""
    first = variable.removeprefix(PREFIX).partition("__")[0].lower()
    return variable.startswith(PREFIX) and first in Settings.model_fields


@pytest.mark.parametrize("name", OURS)
def test_the_variables_and_secrets_of_compose_are_settings(name: str) -> None:
    service = SERVICES[name]

    assert [] == [variable for variable in service["environment"] if not is_setting(variable)]
    assert [] == [secret for secret in service["secrets"] if not is_setting(secret.upper())]


def test_the_files_that_compose_names_exist() -> None:
    paths = [
        path
        for option, _, path in (word.partition("=") for word in SERVICES["worker"]["command"])
        if option in ("--handlers", "--templates")
    ]

    assert 2 == len(paths)
    assert [] == [path for path in paths if not (ROOT / path).exists()]


def test_all_but_the_upgrade_are_restarted() -> None:
    policies = {name: service.get("restart") for name, service in SERVICES.items()}

    kept = dict.fromkeys(("postgres", "server", "worker"), "unless-stopped")
    assert kept | {"upgrade": None} == policies


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_confined(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"]
    assert service["init"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert "max-size" in service["logging"]["options"]


def test_no_password_is_written_in_compose() -> None:
    text = (ROOT / "compose.yaml").read_text()

    assert "POSTGRES_PASSWORD_FILE" in text
    assert "postgresql://" not in text
    assert "TASKER_PASSWORD" not in text
