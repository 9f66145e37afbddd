"""`tasker generate ...`: types and handlers in several languages, from a template."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.commands.template import Reference, Workflows, find_template
from tasker.cli.exits import ExitCode
from tasker.cli.loading import load_sources
from tasker.generate import generate_handlers, generate_types
from tasker.generate.names import snake_case
from tasker.layout import steps_with_handlers
from tasker.model import HTTP_HANDLER, StepSpec, Template


class LanguageName(StrEnum):
    """The languages of `--language`."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"
    RUST = "rust"
    RUBY = "ruby"


Language = Annotated[
    LanguageName, typer.Option("--language", "-l", help="The language to generate.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="File to write; default: stdout."),
]

app = make_command_group("Generate types and handlers from a template, in several languages.")


@register_command(app, "types", json=False)
async def write_types(
    invocation: Invocation,
    template: Reference,
    language: Language,
    output: Output = None,
    handlers: Workflows = None,
    check: Annotated[
        bool,
        typer.Option("--check", metavar="", help="Write nothing; fail if --output is out of date."),
    ] = False,
) -> ExitCode:
    """Generate types of a template's input and of its steps' results from their schemas.

    For Ruby, these are RBS signatures.

    Exit code: 0 success, 1 the file is out of date (with --check).
    """
    if check and output is None:
        raise typer.BadParameter("--check needs a file to compare with", param_hint="--output")
    definition = await find_template(invocation, template, handlers)
    text = generate_types(definition, language)
    if output is None:
        invocation.stdout_console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    elif check:
        if not output.exists() or output.read_text("utf-8") != text:
            invocation.stderr_console.print(
                f"{output} is out of date: run the command again without --check to regenerate it"
            )
            return ExitCode.FAILED
    else:
        output.write_text(text, "utf-8")
    return ExitCode.DONE


@register_command(app, "handlers", json=False)
async def write_handler_stubs(
    invocation: Invocation,
    template: Reference,
    language: Language,
    output: Output = None,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Source of existing Python handlers; the steps that they run are omitted.",
        ),
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(
            "--types",
            metavar="MODULE",
            help="Module with the generated types; default: the template's name plus _types.",
        ),
    ] = None,
) -> ExitCode:
    """Generate a handler stub for each step that has no handler.

    An existing file is never overwritten.

    Exit code: 0 success, 1 the file exists.
    """
    definition = await find_template(invocation, template, handlers)
    module = types or f"{snake_case(definition.name)}_types"
    text = generate_handlers(
        definition, _steps_without_handler(definition, handlers), language, module
    )
    if output is None:
        invocation.stdout_console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        return ExitCode.DONE
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        invocation.stderr_console.print(
            f"{output} already exists and is not overwritten; choose another file"
        )
        return ExitCode.FAILED
    return ExitCode.DONE


def _steps_without_handler(template: Template, sources: list[str] | None) -> list[StepSpec]:
    """Return the steps that need a handler and have none in the given sources."""
    existing = load_sources(sources, ()).handlers if sources else None
    needed = [spec for spec in steps_with_handlers(template.steps) if spec.handler != HTTP_HANDLER]
    return [
        spec
        for spec in needed
        if existing is None
        or existing.find_handler(spec.handler, template.namespace, spec.handler_version) is None
    ]
