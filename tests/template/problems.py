"""What a template's text is refused for, in short."""

import asyncio

import pytest

from tasker.errors import DocumentProblem, InvalidTemplate
from tasker.model import Json, JsonObject, Template
from tasker.template.load import parse_template
from tasker.template.schema import fill_and_check_input


def get_problems(text: str | bytes) -> tuple[DocumentProblem, ...]:
    """Return the problems of a text."""
    with pytest.raises(InvalidTemplate) as raised:
        parse_template(text, file="t.yaml")
    assert {problem.file for problem in raised.value.problems} == {"t.yaml"}
    return raised.value.problems


def problems(text: str | bytes) -> list[str]:
    """Return the problems of a text as `line:column message`."""
    return [
        f"{problem.line}:{problem.column} {problem.message}" if problem.line else problem.message
        for problem in get_problems(text)
    ]


def prepared(template: Template, context: Json) -> JsonObject:
    """Return a context with its defaults, checked."""
    return asyncio.run(fill_and_check_input(template, context))
