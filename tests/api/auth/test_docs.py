"""What docs/security.md says is so."""

import re
from pathlib import Path

import pytest

from tasker.api.auth.authorizer import permissions_by_role
from tasker.settings import load_settings
from tasker.teams.permissions import ROLES

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
SETTINGS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", SETTINGS)
def test_the_settings_on_the_page_exist(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TASKER_CONFIG", raising=False)
    file = tmp_path / "tasker.toml"
    file.write_text(text)

    auth = load_settings(file).auth
    assert auth.enabled
    assert set(ROLES) <= set(permissions_by_role(auth))


def test_the_table_of_roles_in_the_docs_is_complete() -> None:
    """
    Every permission, and every role that is built in.
    """
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| Permission |") or re.match(r"\| `\w+:\w+` \|", line)
    ]
    head, *body = rows
    documented = {
        role: {row[0].strip("`") for row in body if row[column] == "x"}
        for column, role in enumerate(head)
        if column
    }

    assert documented == {role: set(map(str, permissions)) for role, permissions in ROLES.items()}
