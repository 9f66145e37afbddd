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
def write(tmp_path: Path) -> Iterator[Write]:
    """Write files that a test imports; after it, nothing of them stays imported."""

    def write(name: str, text: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    path = list(sys.path)
    yield write
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(place and Path(place).is_relative_to(tmp_path) for place in places):
            del sys.modules[name]
