"""Readers that both dialects share: names, versions, retries, schemas, dependencies."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from tasker import versions
from tasker.durations import format_duration
from tasker.errors import InvalidExpression, InvalidInput
from tasker.model import (
    NAMESPACE,
    NAMESPACE_RULE,
    Backoff,
    Json,
    JsonObject,
    Retry,
    StepSpec,
    TriggerRule,
)
from tasker.template.expressions import (
    Expression,
    Path,
    TextTemplate,
    check_path_names,
    compile_expression,
    compile_path,
    compile_text,
)
from tasker.template.http import may_have_placeholders
from tasker.template.reading import (
    AllowedKeys,
    LocatedValue,
    MappingFields,
    follow_path,
    node_to_json,
    read_choice,
    read_integer,
    read_json_object,
    read_name,
    read_text,
)
from tasker.template.schema import find_schema_fault
from tasker.template.source import ListNode, MappingNode, ScalarNode, SourcePosition

DEFAULT_NAMESPACE = "default"
DEFAULT_VERSION = "0.1.0"
ALL = "ALL"  #: name for all steps in an environment
MAX_ATTEMPTS = 1_000
LONGEST_TITLE = 200

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_NAME_RULE = "use letters, digits, _ and -, starting with a letter or _ (at most 128 characters)"
_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_METHOD_RULE = "use letters, digits and _, not starting with a digit (at most 128 characters)"
_HANDLER = re.compile(r"[^\s\x00-\x1f\x7f./\\]+(\.[^\s\x00-\x1f\x7f./\\]+)*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")
_LABEL_RULE = "use letters, digits, _, . and -, starting with a letter or _ (at most 63 characters)"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_MOST_LABELS = 16
_ERROR = re.compile(r"[A-Za-z_0-9][A-Za-z0-9_.:-]{0,199}")
_MOST_ERRORS = 50
MOST_ATTRIBUTES = 20
_LONGEST_HANDLER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """The retry settings of a document; None: not given."""

    retryable: bool | None = None
    max_attempts: int | None = None
    backoff: Backoff | None = None
    initial_delay: timedelta | None = None
    max_delay: timedelta | None = None
    jitter: float | None = None
    retry_on: tuple[str, ...] | None = None
    give_up_on: tuple[str, ...] | None = None

    def apply_to(self, base: Retry) -> Retry:
        """Return `base` with the written settings applied.

        The first delay is never above the cap: if only one of the two is given, the other is
        adjusted.
        """
        written = {
            part.name: getattr(self, part.name)
            for part in fields(self)
            if getattr(self, part.name) is not None
        }
        retry = replace(base, **written)
        if retry.initial_delay <= retry.max_delay:
            return retry
        if self.max_delay is None:
            return replace(retry, max_delay=retry.initial_delay)
        return replace(retry, initial_delay=retry.max_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedStep:
    """A step as read, with its positions in the text for later checks."""

    spec: StepSpec
    name: LocatedValue
    dependencies: tuple[tuple[str, LocatedValue], ...]
    when: LocatedValue | None = None
    """The condition, or None if the step has none."""

    expressions: tuple[tuple[str, LocatedValue], ...] = ()
    """Expressions that may use the results of earlier steps."""

    body: tuple["ParsedStep", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentChange:
    """The changes that an environment of a document makes to one step, or to all steps."""

    name: LocatedValue
    step: str
    config: JsonObject | None = None
    retry: RetrySettings | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The syntax of one dialect: its keys, and the functions that read its parts."""

    steps: str  #: the key of the steps, also in environments
    schema: str  #: the key of the schema of contexts
    top: AllowedKeys
    environment: AllowedKeys
    metadata: Callable[[MappingFields], JsonObject]
    deadline: Callable[[MappingFields], timedelta | None]
    step: Callable[[LocatedValue], ParsedStep | None]  #: None: it has no usable name
    change: Callable[[LocatedValue], EnvironmentChange | None]  #: None: it names no step
    finish: Callable[[MappingFields, list[ParsedStep]], list[ParsedStep]]
    """Function that applies the template-wide settings to the steps."""


def read_namespace(value: LocatedValue) -> str | None:
    """Read the name of a namespace."""
    return read_name(value, NAMESPACE, NAMESPACE_RULE)


def read_identifier(value: LocatedValue) -> str | None:
    """Read the name of a template, an environment or a dependency."""
    return read_name(value, _NAME, _NAME_RULE)


def read_step_name(value: LocatedValue) -> str | None:
    """Read the name of a step."""
    step = read_identifier(value)
    if step == ALL:
        value.report_problem(
            f"no step can be named {ALL!r}: in environments, this name stands for every step"
        )
        return None
    return step


def check_environment_name(
    environment: str, value: LocatedValue, mark: SourcePosition | None
) -> None:
    """Report a problem if the name of an environment is invalid."""
    if not _NAME.fullmatch(environment):
        value.report_problem(
            f"{environment[:60]!r} is not a valid environment name: {_NAME_RULE}", mark
        )


def read_handler_method(value: LocatedValue) -> str | None:
    """Read the name of a handler's method."""
    return read_name(value, _METHOD, _METHOD_RULE)


def read_version(value: LocatedValue) -> str | None:
    """Read a version."""
    node = value.node
    if isinstance(node, ScalarNode) and type(node.value) in (int, float):
        parts = [part for part in node.text.split(".") if part.isdigit()] or ["1"]
        whole = ".".join([*parts, "0", "0"][:3])
        value.report_problem(
            f"{node.text} without quotes is a number, not a version;"
            f' write three parts, in quotes: "{whole}"'
        )
        return None
    written = read_text(value)
    try:
        return written and str(versions.parse(written))
    except InvalidInput as error:
        value.report_problem(str(error))
        return None


def read_version_range(value: LocatedValue) -> str | None:
    """Read a version or a range of versions, written without spaces."""
    node = value.node
    if isinstance(node, ScalarNode) and type(node.value) in (int, float):
        value.report_problem(
            f'{node.text} without quotes is a number; write a range such as "^{node.text}"'
        )
        return None
    written = read_text(value)
    if written is None:
        return None
    try:
        return versions.canonicalize(written)
    except InvalidInput as error:
        value.report_problem(str(error))
        return None


def read_max_attempts(value: LocatedValue) -> int | None:
    """Read the maximum number of attempts; 0 means 1, as in earlier versions of Tasker."""
    count = read_integer(value, 0, MAX_ATTEMPTS)
    return None if count is None else max(count, 1)


def read_error_names(value: LocatedValue) -> tuple[str, ...]:
    """Read the class names and codes of errors."""
    names: list[str] = []
    for item in value.list_items("a list of error class names and codes"):
        name = read_text(item)
        if name is not None and not _ERROR.fullmatch(name):
            item.report_problem(
                f"{name[:60]!r} is neither the name of an exception class nor a code"
            )
        elif name in names:
            item.report_problem(f"{name!r} is listed twice")
        elif name is not None:
            names.append(name)
    if len(names) > _MOST_ERRORS:
        value.report_problem(f"at most {_MOST_ERRORS} errors can be listed, found {len(names)}")
    return tuple(names)


def read_required_labels(value: LocatedValue) -> dict[str, str]:
    """Read the labels that a step requires of a worker."""
    labels: dict[str, str] = {}
    for label, part in value.mapping_values("a mapping of labels").items():
        wanted = read_text(part)
        if not _LABEL.fullmatch(label):
            part.report_problem(f"{label[:60]!r} is not a valid label name: {_LABEL_RULE}")
        elif wanted is not None and not _LABEL_VALUE.fullmatch(wanted):
            part.report_problem(
                "a label's value must have 1 to 63 characters: letters, digits, _, . and -"
            )
        elif wanted is not None:
            labels[label] = wanted
    if len(labels) > _MOST_LABELS:
        value.report_problem(
            f"a step may require at most {_MOST_LABELS} labels, found {len(labels)}"
        )
    return labels


def read_attributes(value: LocatedValue) -> dict[str, str]:
    """Read the searchable attributes of tasks: name to `input.path`."""
    attributes: dict[str, str] = {}
    for key, part in value.mapping_values("a mapping of attributes").items():
        if not _LABEL.fullmatch(key):
            part.report_problem(f"{key[:60]!r} is not a valid attribute name: {_LABEL_RULE}")
        elif path := read_path(part, ("input",)):
            attributes[key] = path
    if len(attributes) > MOST_ATTRIBUTES:
        value.report_problem(
            f"a task may have at most {MOST_ATTRIBUTES} attributes, found {len(attributes)}"
        )
    return attributes


def read_title(value: LocatedValue) -> str | None:
    """Read the title of a task; `{input.name}` is replaced by an input."""
    written = read_text_template(value, ("input",))
    if written is not None and len(written) > LONGEST_TITLE:
        value.report_problem(
            f"a title may have at most {LONGEST_TITLE} characters, found {len(written)}"
        )
    return written


def read_expression(value: LocatedValue, names: Collection[str]) -> str | None:
    """Read an expression over `names`; `true`, `false` and numbers need no quotes."""
    node = value.node
    if isinstance(node, ScalarNode) and isinstance(node.value, bool | int | float):
        return node.text
    return _read_text_that_compiles(value, names, compile_expression)


def read_trigger_rule(value: LocatedValue) -> TriggerRule | None:
    """Read a trigger rule."""
    written = read_choice(value, tuple(map(str, TriggerRule)))
    return None if written is None else TriggerRule(written)


def read_path(value: LocatedValue, names: Collection[str]) -> str | None:
    """Read an expression that is only a path below one of `names`."""
    return _read_text_that_compiles(value, names, compile_path)


def read_text_template(value: LocatedValue, names: Collection[str]) -> str | None:
    """Read a string with placeholders `{path}`, each a path below one of `names`."""
    return _read_text_that_compiles(value, names, compile_text)


def _read_text_that_compiles(
    value: LocatedValue,
    names: Collection[str],
    compiled_by: Callable[[str], Expression | TextTemplate | Path],
) -> str | None:
    written = read_text(value)
    if written is None:
        return None
    try:
        compiled = compiled_by(written)
        paths = (compiled,) if isinstance(compiled, Path) else compiled.paths
        check_path_names(written, paths, names)
    except InvalidExpression as error:
        value.report_problem(str(error))
        return None
    return written


def keep_in_metadata(value: LocatedValue, key: str, metadata: dict[str, Json]) -> None:
    """Keep a value that only earlier versions of Tasker used in the metadata; report a problem if
    the metadata already has that key."""
    if key in metadata:
        value.report_problem(f"{key!r} is given both here and in 'metadata'; remove one of the two")
    metadata[key] = node_to_json(value.node)


def read_handler_name(value: LocatedValue) -> str | None:
    """Read the name of a handler; `A::B` and `::A::B` are other spellings of `A.B`."""
    written = read_text(value)
    if written is None:
        return None
    normal = written.replace("::", ".").removeprefix("." if written.startswith("::") else "")
    if len(normal) > _LONGEST_HANDLER or not _HANDLER.fullmatch(normal):
        value.report_problem(
            f"{written[:60]!r} is not a handler name: write names joined by '.' or '::', without "
            "spaces or slashes (at most 500 characters)"
        )
        return None
    return normal


def read_dependencies(values: list[LocatedValue]) -> tuple[tuple[str, LocatedValue], ...]:
    """Read the names of a step's dependencies."""
    dependencies_read: dict[str, LocatedValue] = {}
    for value in values:
        step = read_identifier(value)
        if step in dependencies_read:
            value.report_problem(f"{step!r} is listed twice")
        elif step is not None:
            dependencies_read[step] = value
    return tuple(dependencies_read.items())


def report_initial_delay_above_maximum(value: LocatedValue, change: RetrySettings) -> RetrySettings:
    """Report a problem if the given first delay exceeds the given cap."""
    first, cap = change.initial_delay, change.max_delay
    if first is not None and cap is not None and first > cap:
        value.report_problem(
            f"the initial delay ({format_duration(first)}) exceeds"
            f" the maximum delay ({format_duration(cap)})"
        )
    return change


def read_schema(value: LocatedValue) -> JsonObject | None:
    """Read a JSON Schema; report a problem at its invalid part."""
    document = read_json_object(value)
    wrong = None if document is None else find_schema_fault(document)
    if wrong is not None:
        follow_path(value, iter(wrong.path)).report_problem(
            f"not a valid JSON Schema: {wrong.message}"
        )
        return None
    return document


def read_input_schema(value: LocatedValue) -> JsonObject | None:
    """Read the schema of a task's context, which is always an object."""
    document = read_schema(value)
    types = document.get("type") if document else None
    allowed = [types] if isinstance(types, str) else types
    if isinstance(allowed, list) and "object" not in allowed:
        follow_path(value, iter(["type"])).report_problem(
            "a task's context must be an object: set the schema's type to 'object'"
        )
    return document


def strings_with_placeholders(value: LocatedValue) -> Iterator[LocatedValue]:
    """Yield the strings of a value that have placeholders."""
    node = value.node
    if isinstance(node, MappingNode):
        for part in value.mapping_values().values():
            yield from strings_with_placeholders(part)
    elif isinstance(node, ListNode):
        for part in value.list_items():
            yield from strings_with_placeholders(part)
    elif isinstance(node.value, str) and may_have_placeholders(node.value):
        yield value
