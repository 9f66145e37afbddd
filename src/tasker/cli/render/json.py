"""Prints JSON documents for programs."""

import dataclasses
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from tasker.model import Task


def to_plain_json(value: Any) -> Any:
    """Convert values to plain ones; dataclasses and named tuples become objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain_json(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_plain_json(item) for name, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [to_plain_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain_json(item) for key, item in value.items()}
    return value


def task_to_document(task: Task) -> dict[str, Any]:
    """Return a task as a JSON document."""
    document: dict[str, Any] = to_plain_json(task)
    del document["created"]  # `created` describes the call, not the task
    return document


def write_json_document(value: object) -> None:
    """Write a JSON document to stdout."""
    text = orjson.dumps(to_plain_json(value), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.write(_CONTROLS.sub(_escape_control_character, text.decode()) + "\n")
    sys.stdout.flush()


_CONTROLS = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that terminals interpret but that JSON does not require to be escaped."""


def _escape_control_character(control: re.Match[str]) -> str:
    return f"\\u{ord(control[0]):04x}"


@contextmanager
def reserve_stdout_for_json(wanted: bool = True) -> Iterator[None]:
    """Reserve stdout for the document: while the block runs, handlers' output goes to stderr."""
    if not wanted:
        yield
        return
    stdout = sys.stdout
    stdout.flush()
    kept = os.dup(1)
    sys.stdout = sys.stderr
    os.dup2(2, 1)  # for output that bypasses Python: child processes, C libraries
    try:
        yield
    finally:
        sys.stdout = stdout
        os.dup2(kept, 1)
        os.close(kept)
