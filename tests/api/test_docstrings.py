"""Descriptions of fields, which are read from the source of their class."""

import inspect
from typing import Any

import pytest

from tasker.api.docstrings import add_field_descriptions

SOURCE = '''
class Body:
    name: str
    """One."""

    later: int
    """Two."""
'''


def described(monkeypatch: pytest.MonkeyPatch, source: str | None) -> dict[str, Any]:
    def getsource(_: object) -> str:
        if source is None:
            raise OSError("could not get source code")
        return source

    monkeypatch.setattr(inspect, "getsource", getsource)
    schema: dict[str, Any] = {"properties": {"name": {}}}
    add_field_descriptions(schema, type("Body", (), {"__module__": "tasker.api"}))
    properties: dict[str, Any] = schema["properties"]
    return properties


def test_a_field_without_its_own_description_gets_its_docstring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fields that only a later release has, whose files are installed already, are left out."""
    assert {"name": {"description": "One."}} == described(monkeypatch, SOURCE)


def test_without_sources_there_are_no_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"name": {}} == described(monkeypatch, None)
