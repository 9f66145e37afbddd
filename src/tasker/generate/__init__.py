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
    """The functions that generate code in a language, and the suffixes of its files."""

    suffix: str
    types_suffix: str
    render_types: Callable[[TemplateTypes], str]
    render_handlers: Callable[[TemplateTypes, list[StepSpec], str], str]
    """Function that generates handlers from the types, the steps and the name of the types'
    module."""

    comment: str


LANGUAGES = {
    "python": LanguageGenerator(".py", ".py", python.render_types, python.render_handlers, "#"),
    "typescript": LanguageGenerator(
        ".ts", ".ts", typescript.render_types, typescript.render_handlers, "//"
    ),
    "rust": LanguageGenerator(".rs", ".rs", rust.render_types, rust.render_handlers, "//"),
    "ruby": LanguageGenerator(".rb", ".rbs", ruby.render_types, ruby.render_handlers, "#"),
}


def generate_types(template: Template, language: str) -> str:
    """Return a file with the types of a template's input and of its steps' results."""
    writer = LANGUAGES[language]
    header = (
        f"{writer.comment} Generated from {template.full_name} by `tasker generate types`."
        " Do not edit.\n\n"
    )
    return header + writer.render_types(derive_template_types(template))


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
    return header + writer.render_handlers(derive_template_types(template), steps, module)


__all__ = ["LANGUAGES", "LanguageGenerator", "generate_handlers", "generate_types"]
