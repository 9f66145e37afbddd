"""Generates types and handler stubs in several languages from a template's schemas.

shapes     the types of a template, read from its schemas
names      names in the conventions of a language
python, typescript, rust, ruby
           the writers, one per language
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tasker.generate import python, ruby, rust, typescript
from tasker.generate.names import one_line_comment
from tasker.generate.shapes import TemplateTypes, derive_template_types
from tasker.model import StepSpec, Template


class LanguageGenerator(NamedTuple):
    """The generated code of a language, and the suffix of its files."""

    suffix: str
    types_suffix: str
    write_types: Callable[[TemplateTypes], str]
    write_handlers: Callable[[TemplateTypes, list[StepSpec], str], str]
    """Function that generates handlers from the types, the steps and the name of the types'
    module."""

    comment: str


LANGUAGES = {
    "python": LanguageGenerator(".py", ".py", python.write_types, python.write_handlers, "#"),
    "typescript": LanguageGenerator(
        ".ts", ".ts", typescript.write_types, typescript.write_handlers, "//"
    ),
    "rust": LanguageGenerator(".rs", ".rs", rust.write_types, rust.write_handlers, "//"),
    "ruby": LanguageGenerator(".rb", ".rbs", ruby.write_types, ruby.write_handlers, "#"),
}


def generate_types(template: Template, language: str) -> str:
    """Return a file with the types of a template's input and of its steps' results."""
    writer = LANGUAGES[language]
    header = (
        f"{writer.comment} Generated from {template.full_name} by `tasker generate types`."
        " Do not edit.\n\n"
    )
    return header + writer.write_types(derive_template_types(template))


def generate_handlers(template: Template, steps: list[StepSpec], language: str, module: str) -> str:
    """Return a file with a handler stub for each of some steps.

    Args:
        template: The template.
        steps: Its steps without handlers.
        language: One of `LANGUAGES`.
        module: The name of the module with the generated types, without a suffix.
    """
    writer = LANGUAGES[language]
    steps = [replace(spec, description=one_line_comment(spec.description)) for spec in steps]
    header = f"{writer.comment} Handlers of {template.namespace}.{template.name}.\n\n"
    return header + writer.write_handlers(derive_template_types(template), steps, module)


__all__ = ["LANGUAGES", "LanguageGenerator", "generate_handlers", "generate_types"]
