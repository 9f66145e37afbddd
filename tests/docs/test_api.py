"""The page about the API tells every route, permission and problem; compose files hold together."""

import re
from pathlib import Path

import yaml

from tasker.api import create_app
from tasker.api.problems import STATUSES
from tasker.configuration import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_every_route_is_documented_with_its_permissions() -> None:
    """
    And nothing else is.
    """
    rows = re.findall(r"^\| `([A-Z]+ /\S*)` \| ([^|]+) \| ([\d/]+) \|", PAGE, re.MULTILINE)
    told = {
        route: (set(re.findall(r"`(.+?)`", needed)), answers) for route, needed, answers in rows
    }

    served = {
        f"{method.upper()} {path}": (
            set(operation.get("x-permissions", [])),
            "/".join(status for status in operation["responses"] if int(status) < 400),
        )
        for path, methods in create_app("sqlite::memory:").openapi()["paths"].items()
        for method, operation in methods.items()
    }
    assert served == told


def test_every_problem_is_documented_with_its_status() -> None:
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", PAGE, re.MULTILINE))

    assert {code: str(status) for code, (status, _) in STATUSES.items()} == told


def test_the_compose_file_says_what_is_known() -> None:
    """
    Its variables are settings, its commands are ours, what it mounts is there.
    """
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {"postgres", "upgrade", "server", "worker"} == set(services)

    for name in ("upgrade", "server", "worker"):
        for variable in services[name]["environment"]:
            first = variable.removeprefix(PREFIX).partition("__")[0].lower()
            assert first in Settings.model_fields, variable
    paths = [word.partition("=")[2] for word in services["worker"]["command"] if "=" in word]
    assert [True, True] == [(ROOT / path).exists() for path in paths]
    assert [["db", "upgrade"], ["server", "--host", "0.0.0.0"]] == [
        services[name]["command"] for name in ("upgrade", "server")
    ]
