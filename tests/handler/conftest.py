"""Modules on disk, forgotten after each test."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest


class Write(Protocol):
    """Write a file below the test's directory, dedented."""

    def __call__(self, name: str, text: str = "") -> Path: ...


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the test's directory, dedented."""

    def write(name: str, text: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture(autouse=True)
def _imports_end_with_the_test() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if not name.startswith(("tasker", "pydantic")):
            del sys.modules[name]
    sys.path[:] = path
