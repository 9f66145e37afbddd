"""Texts of a template cannot become code in what is generated from it."""

import ast

import pytest

from tasker import Template
from tasker.generate import LANGUAGES, generate_handlers, generate_types
from tasker.model import StepSpec

HANDLER = "a\")(__import__('os').system('x'))#{`x`}\\"
DESCRIPTION = 'x\n`x`\n"""\nx()\n*/ x(); /*'
TEMPLATE = Template(
    namespace="n",
    name="t",
    version="1.0.0",
    steps=(
        StepSpec(
            name="s",
            callable=HANDLER,
            description=DESCRIPTION,
            result_schema={
                "type": "object",
                "description": DESCRIPTION,
                "properties": {
                    'a"\nb': {"enum": ["x\n", '"#{x}']},
                    "c": {"description": DESCRIPTION},
                },
            },
        ),
    ),
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_cannot_leave_comments_and_strings(language: str) -> None:
    handlers = generate_handlers(TEMPLATE, list(TEMPLATE.steps), language, "types")
    types = generate_types(TEMPLATE, language)

    for line in (handlers + types).splitlines():
        assert not line.strip().startswith(("x", "`x`"))
    assert 1 >= (handlers + types).count("*/ x();")
    if language == "ruby":
        assert "#{" not in handlers.replace("\\#{", "")


def test_generated_python_contains_no_code_from_the_template() -> None:
    handlers = ast.parse(generate_handlers(TEMPLATE, list(TEMPLATE.steps), "python", "types"))
    ast.parse(generate_types(TEMPLATE, "python"))

    [function] = [node for node in handlers.body if isinstance(node, ast.FunctionDef)]
    [decorator] = function.decorator_list
    assert isinstance(decorator, ast.Call)
    [name] = decorator.args
    assert HANDLER == ast.literal_eval(name)
