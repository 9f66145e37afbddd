"""The lock file and the dependencies that `pyproject.toml` asks for."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()


def asked() -> Iterator[Requirement]:
    """Tell what the project, its extras, its groups and its build ask of others."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    lists = [
        document["build-system"]["requires"],
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *document["dependency-groups"].values(),
    ]
    for text in (entry for entries in lists for entry in entries if isinstance(entry, str)):
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement


def test_the_lock_has_what_the_project_asks_for() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", LOCK, flags=re.MULTILINE))

    missing = [
        str(requirement)
        for requirement in asked()
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), ""))
    ]

    assert [] == missing, "run `make lock`"


def test_the_lock_names_no_host_and_no_place() -> None:
    assert [] == re.findall(
        r"^.*(?:://|--index|--find-links| @ |\.\./|file:).*$", LOCK, re.MULTILINE
    )


def test_every_locked_file_has_a_hash() -> None:
    entries = re.split(r"^(?=\S)", LOCK, flags=re.MULTILINE)

    assert [] == [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry]
