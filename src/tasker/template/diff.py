"""Compares two templates. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from tasker.model import Json, Template
from tasker.template.document import to_document
from tasker.template.schema import json_path


class Kind(StrEnum):
    """The kind of a change."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Change(NamedTuple):
    """One difference; steps are named in the path (`$.steps.charge.retry.max_attempts`)."""

    path: str
    kind: Kind
    before: Json
    after: Json


class Difference(NamedTuple):
    """The differences between two templates, except for their names and versions."""

    steps_added: tuple[str, ...]
    steps_removed: tuple[str, ...]
    steps_changed: tuple[str, ...]
    changes: tuple[Change, ...]  #: in the order of the documents

    @property
    def identical(self) -> bool:
        return not self.changes


def compare(before: Template, after: Template) -> Difference:
    """Return the differences between two templates."""
    old, new = _by_step(before), _by_step(after)
    old_steps = {spec.name: spec for spec in before.steps}
    new_steps = {spec.name: spec for spec in after.steps}
    return Difference(
        tuple(name for name in new_steps if name not in old_steps),
        tuple(name for name in old_steps if name not in new_steps),
        tuple(
            name for name in new_steps if old_steps.get(name, new_steps[name]) != new_steps[name]
        ),
        tuple(_changes((), old, new)),
    )


def _by_step(template: Template) -> dict[str, Json]:
    """Write a template with its steps by name and without its own name and version."""
    document = dict(to_document(template))
    steps = {
        name: dict(step, position=no)
        for no, (name, step) in enumerate(_by_name(document["steps"]), start=1)
    }
    for key in ("name", "namespace_name", "version"):
        document.pop(key, None)
    return {**document, "steps": steps}


def _by_name(steps: Json) -> Iterator[tuple[str, dict[str, Json]]]:
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping):
            yield str(step["name"]), {key: part for key, part in step.items() if key != "name"}


def _changes(way: tuple[str, ...], before: Json, after: Json) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            here = (*way, key)
            if key not in after:
                yield Change(json_path(here), Kind.REMOVED, before[key], None)
            elif key not in before:
                yield Change(json_path(here), Kind.ADDED, None, after[key])
            else:
                yield from _changes(here, before[key], after[key])
    elif before != after:
        yield Change(json_path(way), Kind.CHANGED, before, after)
