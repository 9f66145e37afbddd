"""Compares two templates. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasker.model import Json, Template
from tasker.template.document import template_to_document
from tasker.template.schema import format_json_path


class ChangeKind(StrEnum):
    """The kind of a change."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class TemplateChange:
    """One difference; steps are named in the path (`$.steps.charge.retry.max_attempts`)."""

    path: str
    kind: ChangeKind
    before: Json
    after: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDifference:
    """The differences of two versions of a template."""

    namespace: str
    name: str
    from_version: str
    to_version: str
    identical: bool = field(init=False, default=False)
    """Whether the templates differ only in their names and versions."""

    steps_added: tuple[str, ...]
    steps_removed: tuple[str, ...]
    steps_changed: tuple[str, ...]
    changes: tuple[TemplateChange, ...]
    """The changes in document order; each is `added`, `removed` or `changed`. Paths identify steps
    by name, as in `$.steps.charge.timeout_seconds`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "identical", not self.changes)


def compare_templates(before: Template, after: Template) -> TemplateDifference:
    """Return the differences between two templates."""
    old, new = _to_document_with_steps_by_name(before), _to_document_with_steps_by_name(after)
    old_steps = {spec.name: spec for spec in before.steps}
    new_steps = {spec.name: spec for spec in after.steps}
    return TemplateDifference(
        namespace=after.namespace,
        name=after.name,
        from_version=before.version,
        to_version=after.version,
        steps_added=tuple(name for name in new_steps if name not in old_steps),
        steps_removed=tuple(name for name in old_steps if name not in new_steps),
        steps_changed=tuple(
            name for name in new_steps if old_steps.get(name, new_steps[name]) != new_steps[name]
        ),
        changes=tuple(_compare_json((), old, new)),
    )


def _to_document_with_steps_by_name(template: Template) -> dict[str, Json]:
    """Write a template with its steps by name, and without its own name and version."""
    document = dict(template_to_document(template))
    steps = {
        name: dict(step, position=no)
        for no, (name, step) in enumerate(_steps_by_name(document["steps"]), start=1)
    }
    for key in ("name", "namespace_name", "version"):
        document.pop(key, None)
    return {**document, "steps": steps}


def _steps_by_name(steps: Json) -> Iterator[tuple[str, dict[str, Json]]]:
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping):
            yield str(step["name"]), {key: part for key, part in step.items() if key != "name"}


def _compare_json(path: tuple[str, ...], before: Json, after: Json) -> Iterator[TemplateChange]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            here = (*path, key)
            if key not in after:
                yield TemplateChange(format_json_path(here), ChangeKind.REMOVED, before[key], None)
            elif key not in before:
                yield TemplateChange(format_json_path(here), ChangeKind.ADDED, None, after[key])
            else:
                yield from _compare_json(here, before[key], after[key])
    elif before != after:
        yield TemplateChange(format_json_path(path), ChangeKind.CHANGED, before, after)
