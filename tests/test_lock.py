"""The lock files and the requirements in `pyproject.toml`."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = {path.name: path.read_text() for path in sorted(ROOT.glob("requirements*.lock"))}


def versions(lock: str) -> dict[str, str]:
    """Return the locked version of each package by name."""
    return dict(re.findall(r"^([\w.-]+)==([^ ;]+)", LOCKS[lock], flags=re.MULTILINE))


def requirements() -> Iterator[Requirement]:
    """List the requirements of the project, its extras, its groups and its build."""
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


def test_the_lock_satisfies_every_requirement() -> None:
    locked = versions("requirements.browser.lock") | versions("requirements.lock")

    missing = [
        str(requirement)
        for requirement in requirements()
        if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), ""))
    ]

    assert [] == missing, "run `make lock`"


def test_the_locks_of_the_image_have_the_tested_versions() -> None:
    images = {"requirements.lock", "requirements.build.lock", "requirements.image.lock"}
    assert images | {"requirements.browser.lock"} == set(LOCKS)
    tested = versions("requirements.lock").items()

    for lock in images:
        assert [] == sorted(versions(lock).items() - tested), f"{lock}: run `make lock`"


def test_the_image_lock_has_the_extras_of_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    match = re.search(r"^IMAGE_EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert match
    extras = [project["optional-dependencies"][extra] for extra in match[1].split()]

    missing = [
        requirement.name
        for requirement in map(Requirement, sum(extras, project["dependencies"]))
        if canonicalize_name(requirement.name) not in versions("requirements.image.lock")
    ]

    assert [] == missing, "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_contains_no_host_and_no_path(lock: str) -> None:
    assert [] == re.findall(
        r"^.*(?:://|--index|--find-links| @ |\.\./|file:).*$", LOCKS[lock], re.MULTILINE
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_hash(lock: str) -> None:
    entries = re.split(r"^(?=\S)", LOCKS[lock], flags=re.MULTILINE)

    assert [] == [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry]
