"""Templates as JSON documents: the form in which they are stored, compared and shown."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
import yaml

from tasker.errors import InvalidTemplate, Problem
from tasker.model import Durability, Json, JsonObject, Retry, StepOverride, StepSpec, Template
from tasker.template.assemble import assemble
from tasker.template.reading import path_below
from tasker.template.scalars import INTEGERS, reads_as_text
from tasker.template.source import MAX_DEPTH, Entry, Items, Node, Problems, Scalar, Table

try:
    from yaml import CSafeDumper as Dumper
except ImportError:  # PyYAML built without libyaml; slower, and otherwise the same
    from yaml import SafeDumper as Dumper  # type: ignore[assignment]


_HALVES = re.compile("[\ud800-\udfff]")  #: surrogates, which UTF-8 cannot write


def to_document(template: Template) -> JsonObject:
    """Write a template in the core dialect, as a JSON object.

    Defaults are left out; the order of keys is fixed.
    """
    steps = [_step(spec) for spec in template.steps]
    specs = {spec.name: spec for spec in template.steps}
    return _without_none(
        name=template.name,
        namespace_name=template.namespace,
        version=template.version,
        description=template.description or None,
        title=template.title or None,
        attributes=template.attributes or None,
        retention=_seconds(template.retention),
        durability=None if template.durability is Durability.FULL else template.durability.value,
        deadline_seconds=_seconds(template.deadline),
        input_schema=template.input_schema,
        steps=steps,
        environments={
            name: {
                "steps": [
                    _override(specs.get(step, StepSpec(name=step)), change)
                    for step, change in changes.items()
                ]
            }
            for name, changes in template.environments.items()
        }
        or None,
        metadata=template.metadata or None,
    )


def from_document(document: JsonObject) -> Template:
    """Read what `to_document` wrote: exactly the same template. Either dialect is read.

    Raises:
        InvalidTemplate: Has all problems, with paths but without lines.
    """
    problems = Problems("")
    template = assemble(node_of(document, "", 0, problems), problems)
    problems.check()
    if template is None:
        raise InvalidTemplate(Problem("the document is not a template"))
    return template


def digest(template: Template) -> str:
    """Return the SHA-256 of a template's document in hexadecimal: equal for equal content."""
    text = orjson.dumps(to_document(template), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def dump_yaml(template: Template) -> str:
    """Write a template as YAML that reads back as the same template."""
    return yaml.dump(
        to_document(template), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100
    )


def _step(spec: StepSpec) -> JsonObject:
    handler = _without_none(
        callable=spec.callable,
        method=spec.method,
        version=spec.handler_version or None,
        initialization=spec.config or None,
    )
    return _without_none(
        name=spec.name,
        description=spec.description or None,
        handler=handler or None,
        dependencies=list(spec.dependencies) or None,
        retry=_retry(spec.retry, Retry()) or None,
        timeout_seconds=_seconds(spec.timeout),
        queue_timeout=_seconds(spec.queue_timeout),
        heartbeat_timeout=_seconds(spec.heartbeat_timeout),
        requires=spec.requires or None,
        result_schema=spec.result_schema,
        system_dependency=spec.dependent_system,
    )


def _override(spec: StepSpec, change: StepOverride) -> JsonObject:
    return _without_none(
        name=spec.name,
        handler=None if change.config is None else {"initialization": change.config},
        retry=None if change.retry is None else _retry(change.retry, spec.retry),
        timeout_seconds=_seconds(change.timeout),
    )


def _retry(retry: Retry, base: Retry) -> JsonObject:
    """Write what of `retry` differs from `base`."""
    written: dict[str, Json] = {
        "retryable": retry.retryable,
        "max_attempts": retry.max_attempts,
        "backoff": retry.backoff.value,
        "initial_delay": _seconds(retry.initial_delay),
        "max_delay": _seconds(retry.max_delay),
        "jitter": retry.jitter,
    }
    return {
        key: value for key, value in written.items() if getattr(retry, key) != getattr(base, key)
    }


def _without_none(**parts: Json) -> dict[str, Json]:
    return {key: part for key, part in parts.items() if part is not None}


def _seconds(length: timedelta | None) -> int | float | None:
    """Return a duration in seconds, as an integer if it is whole."""
    if length is None:
        return None
    seconds = length.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def node_of(value: Json, path: str, depth: int, problems: Problems) -> Node:
    """Make the nodes of a JSON value; they have no marks."""
    if depth > MAX_DEPTH:
        problems.add(f"nested more than {MAX_DEPTH} levels deep", path=path)
        return Scalar(None, "", None)
    if isinstance(value, Mapping):
        table = Table(None)
        for key, part in value.items():
            if _is_text(key, path, problems):
                table.entries[key] = Entry(
                    None, node_of(part, path_below(path, key), depth + 1, problems)
                )
        return table
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return Items(
            None,
            [node_of(part, f"{path}[{at}]", depth + 1, problems) for at, part in enumerate(value)],
        )
    return _leaf(value, path, problems)


def _leaf(value: object, path: str, problems: Problems) -> Scalar:
    if isinstance(value, str):
        _is_text(value, path, problems)
        return Scalar(value, value, None)
    if isinstance(value, int) and value not in INTEGERS:
        problems.add("an integer needs more than 64 bits; write it as a string", path=path)
        return Scalar(None, "", None)
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(f"{value} is not a number in JSON", path=path)
        return Scalar(None, "", None)
    if value is None or isinstance(value, int | float):
        return Scalar(value, str(value), None)
    problems.add(f"a {type(value).__name__} is not JSON", path=path)
    return Scalar(None, "", None)


def _is_text(text: object, path: str, problems: Problems) -> bool:
    """Return whether a key or value is a text that JSON can write; note a problem if not."""
    if not isinstance(text, str):
        problems.add(f"the key {text!r} is not a string", path=path)
        return False
    if "\0" in text or _HALVES.search(text):
        problems.add("a string contains a NUL character or an unpaired surrogate", path=path)
    return True


class _Plain(Dumper):
    """Writes values in full, and quotes every text that would be read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    style = None if reads_as_text(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _text)
