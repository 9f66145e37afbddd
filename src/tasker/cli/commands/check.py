"""`tasker check`: what can be told before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker.cli.app import Session, command
from tasker.cli.exits import Exit, print_problems
from tasker.cli.options import TemplatePaths
from tasker.cli.render.style import counted
from tasker.errors import HandlerImportError, InvalidTemplate, Problem, TooLarge
from tasker.handlers import Handlers, unused
from tasker.handlers import check as problems_of
from tasker.template import load_templates

app = typer.Typer(add_completion=False)


@command(app, "check", store=None)
def check(
    session: Session,
    templates: TemplatePaths = None,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Where handlers and workflows are. Without, templates alone are checked.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", metavar="", help="Warnings count as problems.")
    ] = False,
) -> Exit:
    """Check templates and handlers, alone and together.

    Templates are well-formed; every step has a handler; every parameter of a handler has
    a source, and results come from steps before; type hints agree with schemas. Handlers
    that no step uses are warnings. Exit code: 0 all well, 1 problems found.
    """
    if not templates and not handlers:
        raise typer.BadParameter("name --templates, --handlers, or both", param_hint="--templates")
    found = _Findings.of(handlers or (), templates or ())
    if session.as_json:
        session.document(found.document())
    else:
        _print(session, found)
    failed = bool(found.problems or (strict and found.warnings))
    return Exit.FAILED if failed else Exit.DONE


class _Findings:
    """What was looked at, and what is wrong with it."""

    def __init__(self) -> None:
        self.templates: list[str] = []
        self.handlers = 0
        self.problems: list[tuple[str, Problem]] = []  #: (template or "", problem)
        self.warnings: list[Problem] = []

    @classmethod
    def of(cls, sources: Sequence[str], paths: Sequence[Path]) -> "_Findings":
        """Look at everything that can be read; what cannot is a problem."""

        found = cls()
        templates, handlers = [], None
        try:
            templates += load_templates(paths)
        except InvalidTemplate as error:
            found.problems += [("", problem) for problem in error.problems]
        except TooLarge as error:
            found.problems.append(("", Problem(str(error))))
        try:
            handlers = Handlers.of(*sources) if sources else None
            templates += handlers.templates() if handlers is not None else ()
        except HandlerImportError as error:
            found.problems.append(("", Problem(str(error))))
        except InvalidTemplate as error:
            found.problems += [("", problem) for problem in error.problems]
        found.templates = [template.full_name for template in templates]
        if handlers is not None:
            found.handlers = len(handlers)
            for template in templates:
                told = problems_of(template, handlers)
                found.problems += [(template.full_name, problem) for problem in told]
            found.warnings = unused(templates, handlers) if templates else []
        return found

    def document(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "templates": self.templates,
            "handlers": self.handlers,
            "problems": [_document(problem, template) for template, problem in self.problems],
            "warnings": [_document(problem, "") for problem in self.warnings],
        }


def _document(problem: Problem, template: str) -> dict[str, Any]:
    return {
        "template": template or None,
        "message": problem.message,
        "path": problem.path or None,
        "file": problem.file or None,
        "line": problem.line,
        "column": problem.column,
    }


def _print(session: Session, found: _Findings) -> None:

    for template, problem in found.problems:
        print_problems(session.out, [problem], of=template)
    print_problems(session.out, found.warnings, kind="warning", style="yellow")
    looked = f"{counted('template', len(found.templates))}, {counted('handler', found.handlers)}"
    if found.problems:
        session.out.print(f"{looked}: {counted('problem', len(found.problems))}", style="bold red")
    else:
        session.out.print(f"{looked}: no problems", style="green")
