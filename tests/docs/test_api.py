"""The page about the API lists every route, permission and problem."""

import re
from pathlib import Path

from tasker.api import create_app
from tasker.api.problems import STATUSES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_every_route_is_documented_with_its_permissions() -> None:
    """The page documents no other routes."""
    rows = re.findall(r"^\| `([A-Z]+ /\S*)` \| ([^|]+) \| ([\d/]+) \|", PAGE, re.MULTILINE)
    documented = {
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
    assert served == documented


def test_every_problem_is_documented_with_its_status() -> None:
    documented = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", PAGE, re.MULTILINE))

    assert {code: str(status) for code, (status, _) in STATUSES.items()} == documented
