"""The sensitive paths of a template, which are masked wherever data of its tasks is shown."""

from collections.abc import Iterator, Mapping
from typing import Any

from tasker import limits
from tasker.errors import DocumentProblem
from tasker.masking import Keys, split_sensitive_paths
from tasker.model import Template, flatten_steps
from tasker.suggest import did_you_mean
from tasker.template.expression_types import find_expression_type_errors
from tasker.template.expressions import Path, compile_expression, compile_path, compile_text
from tasker.template.parts import read_path
from tasker.template.reading import LocatedValue

_NAMES = ("input", "results")


def read_sensitive_paths(value: LocatedValue) -> tuple[str, ...]:
    """Read the sensitive paths of a template: `input.card.number`, `results.signup.token`."""
    items = value.list_items("a list of paths, such as input.card.number")
    if len(items) > limits.SENSITIVE_PATHS:
        value.report_problem(
            f"a template may have at most {limits.SENSITIVE_PATHS} sensitive paths,"
            f" found {len(items)}"
        )
        return ()
    paths: list[str] = []
    for item in items:
        path = read_path(item, _NAMES)
        if path is None:
            continue
        if compile_path(path).keys == ("results",):
            item.report_problem("'results' names no step; write results.STEP, or a path below it")
        elif path in paths:
            item.report_problem(f"the path {path!r} is listed twice")
        else:
            paths.append(path)
    return tuple(paths)


def check_sensitive_paths(value: LocatedValue, template: Template) -> None:
    """Report sensitive paths of unknown steps, and keys that would show a sensitive input."""
    steps = [spec.name for spec in flatten_steps(template.steps)]
    inputs = []
    for text in template.sensitive:
        path = compile_path(text)
        if path.keys[0] == "results" and str(path.keys[1]) not in steps:
            guess = did_you_mean(str(path.keys[1]), steps)
            value.report_problem(f"the path {text!r} names no step of the template{guess}")
        elif path.keys[0] == "input":
            inputs.append(path)
    for what, text, shown in _find_unmasked_texts(template):
        for path in shown:
            if any(_paths_overlap(path, secret) for secret in inputs):
                value.report_problem(
                    f"{what} {text!r} shows {path}, which is sensitive: leave it out"
                )


def find_sensitive_path_problems(
    template: Template, schemas: Mapping[str, Any]
) -> Iterator[DocumentProblem]:
    """Yield the sensitive paths that the template's schemas exclude; for `tasker check`."""
    for text in template.sensitive:
        for message in find_expression_type_errors(compile_expression(text), schemas):
            yield DocumentProblem(f"sensitive path {text!r}: {message}", path="sensitive")


def compile_sensitive_paths(template: Template) -> tuple[tuple[Keys, ...], tuple[Keys, ...]]:
    """Return the sensitive paths below the context, and those below the results."""
    return split_sensitive_paths(compile_path(text).keys for text in template.sensitive)


def _find_unmasked_texts(template: Template) -> Iterator[tuple[str, str, tuple[Path, ...]]]:
    """Yield the texts of a template that are shown to everyone, with their paths."""
    if template.title:
        yield "the title", template.title, compile_text(template.title).paths
    for text in template.attributes.values():
        yield "the attribute", text, (compile_path(text),)
    limited = [template.limits, *(spec.limits or () for spec in flatten_steps(template.steps))]
    for limit in (limit for some in limited for limit in some):
        yield "the limit", limit.key, compile_text(limit.key).paths
    if template.concurrency is not None:
        key = template.concurrency.key
        yield "the concurrency", key, compile_text(key).paths


def _paths_overlap(path: Path, secret: Path) -> bool:
    """Return whether one of two paths is, or lies below, the other."""
    keys = [key for key in path.keys if isinstance(key, str)]
    hidden = [key for key in secret.keys if isinstance(key, str)]
    return all(a == b for a, b in zip(keys, hidden, strict=False))
