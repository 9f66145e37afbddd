"""Converts JSON values to nodes, so they are read like parsed text."""

import math
import re
from collections.abc import Mapping, Sequence

from tasker.model import Json
from tasker.template.reading import join_path
from tasker.template.scalars import INTEGERS
from tasker.template.source import (
    MAX_DEPTH,
    FileProblems,
    ListNode,
    MappingEntry,
    MappingNode,
    Node,
    ScalarNode,
)

_HALVES = re.compile("[\ud800-\udfff]")  #: surrogates, which UTF-8 cannot write


def build_node(value: Json, path: str, depth: int, problems: FileProblems) -> Node:
    """Build the nodes of a JSON value; they have no positions."""
    if depth > MAX_DEPTH:
        problems.add(f"nested more than {MAX_DEPTH} levels deep", path=path)
        return ScalarNode(None, "", None)
    if isinstance(value, Mapping):
        table = MappingNode(None)
        for key, part in value.items():
            if _report_unless_text(key, path, problems):
                table.entries[key] = MappingEntry(
                    None, build_node(part, join_path(path, key), depth + 1, problems)
                )
        return table
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return ListNode(
            None,
            [
                build_node(part, f"{path}[{at}]", depth + 1, problems)
                for at, part in enumerate(value)
            ],
        )
    return _build_scalar(value, path, problems)


def _build_scalar(value: object, path: str, problems: FileProblems) -> ScalarNode:
    if isinstance(value, str):
        _report_unless_text(value, path, problems)
        return ScalarNode(value, value, None)
    if isinstance(value, int) and value not in INTEGERS:
        problems.add("an integer needs more than 64 bits; write it as a string", path=path)
        return ScalarNode(None, "", None)
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(f"{value} is not a valid JSON number", path=path)
        return ScalarNode(None, "", None)
    if value is None or isinstance(value, int | float):
        return ScalarNode(value, str(value), None)
    problems.add(f"a {type(value).__name__} cannot be represented as JSON", path=path)
    return ScalarNode(None, "", None)


def _report_unless_text(text: object, path: str, problems: FileProblems) -> bool:
    """Return whether a key or value is a string that JSON can represent; if not, report it."""
    if not isinstance(text, str):
        problems.add(f"the key {text!r} is not a string", path=path)
        return False
    if "\0" in text or _HALVES.search(text):
        problems.add("a string contains a NUL character or an unpaired surrogate", path=path)
    return True
