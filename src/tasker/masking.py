"""Replaces payloads with their shape for callers who may not read them.

The fields that contain data of tasks are listed here by name, so new responses are masked without
additional code.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as fields_of
from datetime import datetime
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from tasker.sensitive_texts import MASKED, SHORTEST_TEXT, SensitiveTexts, written_forms

Keys: TypeAlias = tuple[str, ...]
"""A path below `input` or `results`. It has no list indexes and applies to all elements of a
list."""

PAYLOADS = frozenset(
    {"context", "result", "results", "checkpoint", "payload", "decision", "attributes", "fields"}
)
"""Names of fields that contain a task's data."""

TEXTS = frozenset({"message", "title"})
"""Names of fields whose strings may contain a task's data."""

DEFINITIONS = frozenset(
    {"document", "input_schema", "result_schema", "config", "configuration", "metadata"}
)
"""Names of fields that belong to templates and contain no task data."""

_MASKED = PAYLOADS | TEXTS | {"error", "skip_reason", "form", "text"}
"""Names of fields whose plain values may be masked; plain values of other fields are never masked.
"""

_PLAIN_TYPES = (str, int, float, bool, type(None), datetime)
_PLAIN = frozenset(_PLAIN_TYPES)

_ERROR_KEPT = frozenset({"type", "code", "steps", "retryable", "worker"})
_FORM_TEXTS = frozenset({"title", "description", "default", "const", "enum", "examples"})
_QUOTING = frozenset({"failed", "retry_due"})
"""Codes of reasons whose text ends with an error message."""

_SHORTEST_NUMBER = 6
"""Minimum number of characters of a sensitive number that is masked within strings, too."""

_PLACEHOLDERS: tuple[Mapping[str, Any], ...] = tuple(
    {"masked": True, "type": kind} for kind in ("string", "number", "boolean")
)
"""Placeholders that replace whole masked values, one for each type."""


UNKNOWN = "?"  #: the parent of a task, not named in the response


class DataOwner(NamedTuple):
    """The task or template that the data in a response belongs to, as far as it is known."""

    namespace: str | None = None
    name: str | None = None
    version: str | None = None
    task_id: str | None = None
    parent_id: str | None = UNKNOWN


NO_TEXTS = SensitiveTexts()


@dataclass(frozen=True, slots=True)
class MaskingRule:
    """The data of one owner that a caller may read."""

    reads: bool = True
    """Whether the caller may read payloads at all."""

    inputs: tuple[Keys, ...] = ()
    """Sensitive paths below the context."""

    results: tuple[Keys, ...] = ()
    """Sensitive paths below `results`; the first key of each path is a step's name."""

    secrets: SensitiveTexts = NO_TEXTS
    """Sensitive values, which are also replaced in other payloads and in strings."""

    @property
    def masks_nothing(self) -> bool:
        """Whether nothing is masked."""
        return self.reads and not (self.inputs or self.results or self.secrets)


OPEN = MaskingRule()
CLOSED = MaskingRule(reads=False)


def mask_value(value: Any) -> Any:
    """Return the shape of a JSON value: its keys, the lengths of its lists, and types."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {key: mask_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(part) for part in value]
    return {"masked": True, "type": _type_name_shown_when_masked(value)}


def mask_path(value: Any, keys: Keys) -> Any:
    """Return a JSON value with the part at a path masked."""
    if not keys:
        return mask_value(value)
    if isinstance(value, list | tuple):
        return [mask_path(part, keys) for part in value]
    if isinstance(value, Mapping) and keys[0] in value:
        return {**value, keys[0]: mask_path(value[keys[0]], keys[1:])}
    return value


def sensitive_texts_at(value: Any, keys: Keys = ()) -> Iterator[str]:
    """Yield the values below a path that are long enough to be recognized, in all written forms."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from sensitive_texts_at(part, keys)
    elif isinstance(value, Mapping):
        parts = value.values() if not keys else [value[keys[0]]] if keys[0] in value else []
        for part in parts:
            yield from sensitive_texts_at(part, keys[1:])
    elif not keys and _is_long_enough(value):
        yield from written_forms(str(value))


def _is_long_enough(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) >= SHORTEST_TEXT
    if isinstance(value, int | float) and not isinstance(value, bool):
        return len(str(value)) >= _SHORTEST_NUMBER
    return False


def hide_sensitive_values(value: Any, secrets: SensitiveTexts) -> Any:
    """Return a JSON value with sensitive values replaced, even within strings."""
    if not secrets:
        return value
    if isinstance(value, str):
        return secrets.mask_in(value)
    if isinstance(value, Mapping):
        if value in _PLACEHOLDERS:
            return value
        return {
            hide_sensitive_values(key, secrets): hide_sensitive_values(part, secrets)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [hide_sensitive_values(part, secrets) for part in value]
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and str(value) in secrets.values
    ):
        return mask_value(value)
    return value


def find_data_owners(content: Any, default: DataOwner) -> Iterator[DataOwner]:
    """Yield the owners of the data in a response, including `default` if it owns a part; owners may
    repeat."""
    if type(content) in (list, tuple):
        for part in content:
            if not _is_plain_value(part):
                yield from find_data_owners(part, default)
        return
    kind: Any = type(content)
    names = _maskable_members(kind)
    if names == ():
        return
    members = _read_members(content)
    owner = _find_owner_in_members(members, default)
    yield owner
    for name in members if names is None else names:
        part = members[name]
        if not part or type(part) in _PLAIN or name in PAYLOADS or name in DEFINITIONS:
            continue
        yield from find_data_owners(part, owner)


def mask_response(content: Any, rules: Mapping[DataOwner, MaskingRule], default: DataOwner) -> Any:
    """Return a response as its caller may see it; dataclasses keep their type.

    Args:
        content: JSON values, and dataclasses.
        rules: The rules of its owners and of `default`.
        default: The owner of content without a namespace.
    """
    kind: Any = type(content)
    if kind in (list, tuple):
        return kind(
            part if _is_plain_value(part) else mask_response(part, rules, default)
            for part in content
        )
    names = _maskable_members(kind)
    if names == ():
        return content
    members = _read_members(content)
    owner = _find_owner_in_members(members, default)
    rule = rules[owner]
    changed = {
        name: shown
        for name in (members if names is None else names)
        if ((part := members[name]) or (part is not None and name in PAYLOADS))
        and (type(part) not in _PLAIN or name in _MASKED)
        and (shown := _mask_member(members, name, part, rules, owner, rule)) is not part
    }
    return _replace_members(content, members, changed) if changed else content


def _replace_members(content: Any, members: Mapping[str, Any], changed: Mapping[str, Any]) -> Any:
    """Return content with some of its members replaced."""
    shown = {**members, **changed}
    if isinstance(content, Mapping):
        return shown
    if isinstance(content, tuple):
        return type(content)(**shown)
    kind: Any = type(content)
    copy = object.__new__(kind)
    if _member_reader(kind) is vars:
        vars(copy).update(shown)
        return copy
    for name, part in shown.items():
        object.__setattr__(copy, name, part)
    return copy


def _mask_member(
    members: Mapping[str, Any],
    name: str,
    part: Any,
    rules: Mapping[DataOwner, MaskingRule],
    owner: DataOwner,
    rule: MaskingRule,
) -> Any:
    if name in DEFINITIONS:
        return part
    if name in PAYLOADS:
        return _mask_payload(members, name, part, rule)
    if name in TEXTS and isinstance(part, str):
        return hide_sensitive_values(part, rule.secrets) if rule.reads else MASKED
    if name in ("error", "skip_reason") and isinstance(part, str | Mapping):
        return _mask_error(part, rule)
    if name == "form":
        return hide_sensitive_values(part, rule.secrets) if rule.reads else _mask_form(part)
    if name == "text" and members.get("code") in _QUOTING:
        return (
            hide_sensitive_values(part, rule.secrets)
            if rule.reads
            else f"{part.split('. ')[0]}. {MASKED}"
        )
    return part if _is_plain_value(part) else mask_response(part, rules, owner)


def _mask_payload(members: Mapping[str, Any], name: str, part: Any, rule: MaskingRule) -> Any:
    if not rule.reads:
        return dict.fromkeys(part, MASKED) if name == "attributes" else mask_value(part)
    if name == "context":
        for keys in rule.inputs:
            part = mask_path(part, keys)
    elif name != "attributes":
        step = _find_step_name_in_members(members)
        for named, *rest in rule.results:
            if step is None:
                part = mask_path(part, (named, *rest))
            if step in (None, named):
                part = mask_path(part, tuple(rest))
    return hide_sensitive_values(part, rule.secrets)


def _mask_error(error: Any, rule: MaskingRule) -> Any:
    if rule.reads:
        return hide_sensitive_values(error, rule.secrets)
    if isinstance(error, str):
        return MASKED
    return {
        key: part if key in _ERROR_KEPT else MASKED if isinstance(part, str) else mask_value(part)
        for key, part in error.items()
    }


def _mask_form(schema: Any, *, names: bool = False) -> Any:
    """Return a JSON Schema without its strings and values; `names`: the keys are properties."""
    if isinstance(schema, list | tuple):
        return [_mask_form(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: (MASKED if isinstance(part, str) else mask_value(part))
        if key in _FORM_TEXTS and not names
        else _mask_form(part, names=key == "properties" and not names)
        for key, part in schema.items()
    }


def _find_step_name_in_members(members: Mapping[str, Any]) -> str | None:
    """Return the template's name of the step that a part of a response describes."""
    name = members.get("step") or (members.get("name") if "no" in members else None)
    if not isinstance(name, str):
        return None
    return re.sub(r"\[\d*\]", "", name).removesuffix(".compensation").rpartition(".")[2]


def _find_owner_in_members(members: Mapping[str, Any], default: DataOwner) -> DataOwner:
    """Return the owner that a part of a response names, or `default`."""
    namespace, task_id = members.get("namespace"), members.get("task_id")
    if not isinstance(namespace, str):
        if isinstance(task_id, str) and task_id != default.task_id and "namespace" not in members:
            return DataOwner(task_id=task_id)
        if isinstance(template := members.get("template"), str) and "context" in members:
            full, _, pinned = template.partition("@")
            space, _, own = full.rpartition(".")
            return DataOwner(
                space or default.namespace, own, pinned or members.get("version") or ""
            )
        return default
    name, version = members.get("template"), members.get("version")
    if name is None and version is not None:
        name = members.get("name")
    if task_id is None and "correlation_id" in members:
        task_id = members.get("id")
    if task_id is None:
        task_id = members.get("task_uuid") or members.get("sample")
    if isinstance(name, str) and "@" in name:  # a full name
        full, _, version = name.partition("@")
        name = full.rpartition(".")[2]
    return DataOwner(namespace, name, version, task_id, members.get("parent_id", UNKNOWN))


def _read_members(value: Any) -> Mapping[str, Any]:
    kind: Any = type(value)
    read = _member_reader(kind)
    return read(value) if read else {}


@cache
def _member_reader(kind: type) -> Callable[[Any], Mapping[str, Any]] | None:
    """Return the function that reads the members of a type's values, or None if they have none."""
    if issubclass(kind, Mapping):
        return lambda value: value
    if issubclass(kind, tuple) and (fields := getattr(kind, "_fields", None)):
        return lambda value: dict(zip(fields, value, strict=True))
    if not is_dataclass(kind):
        return None
    if not any("__slots__" in vars(base) for base in kind.__mro__):
        return vars
    names = tuple(field.name for field in fields_of(kind))
    if len(names) < 2:
        return lambda value: {name: getattr(value, name) for name in names}
    values = attrgetter(*names)  # several times faster than calling getattr for each
    return lambda value: dict(zip(names, values(value), strict=True))


@cache
def _maskable_members(kind: Any) -> tuple[str, ...] | None:
    """Return the members of a class's values that may be masked or contain parts that may be
    masked.

    None: any of them, as in a mapping.
    """
    if issubclass(kind, Mapping):
        return None
    if _member_reader(kind) is None:
        return ()
    try:
        types = get_type_hints(kind)
    except NameError:  # some of them are imported for type checkers only
        return None
    names = kind._fields if issubclass(kind, tuple) else [field.name for field in fields_of(kind)]
    return tuple(name for name in names if _may_be_masked(name, types[name]))


def _may_be_masked(name: str, declared: Any) -> bool:
    """Return whether a member of a type is masked for some callers or contains parts that are."""
    if name in DEFINITIONS or (name == "error" and declared is int):  # the latter is a count
        return False
    return name in _MASKED or not _is_plain_type(declared)


def _is_plain_type(declared: Any) -> bool:
    """Return whether all values of a type are plain, or lists of plain values."""
    declared = getattr(declared, "__supertype__", declared)  # of a NewType
    origin, parts = get_origin(declared), get_args(declared)
    if origin is Literal:
        return True
    if origin in (Union, UnionType, tuple, list, Sequence):
        return all(_is_plain_type(part) for part in parts if part is not ...)
    return isinstance(declared, type) and issubclass(declared, _PLAIN_TYPES)


def _is_plain_value(value: Any) -> bool:
    return type(value) in _PLAIN or isinstance(value, str | int | float)  # such as enums


def _type_name_shown_when_masked(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "string"


def split_sensitive_paths(
    paths: Iterable[tuple[str | int, ...]],
) -> tuple[tuple[Keys, ...], tuple[Keys, ...]]:
    """Return the sensitive paths below the context and those below the results.

    Args:
        paths: Paths as lists of keys starting with `input` or `results`; list indexes are omitted.
    """
    below: dict[str, list[Keys]] = {"input": [], "results": []}
    for name, *keys in paths:
        below[str(name)].append(tuple(key for key in keys if isinstance(key, str)))
    return tuple(below["input"]), tuple(below["results"])
