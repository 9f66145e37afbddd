"""`tasker check`: finds mistakes before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker.cli.app import Session, command
from tasker.cli.exits import Exit, print_problems
from tasker.cli.options import TemplatePaths
from tasker.cli.render.style import counted
from tasker.errors import HandlerImportError, InvalidTemplate, Problem, TooLarge
from tasker.handlers import Handlers, assumed_inputs, unused
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
    findings = _Findings.of(handlers or (), templates or ())
    if session.as_json:
        session.document(findings.document())
    else:
        _print(session, findings)
    failed = bool(findings.problems or (strict and findings.warnings))
    return Exit.FAILED if failed else Exit.DONE


class _Findings:
    """What was checked, and what is wrong with it."""

    def __init__(self) -> None:
        self.templates: list[str] = []
        self.handlers = 0
        self.problems: list[tuple[str, Problem]] = []  #: (template or "", problem)
        self.warnings: list[Problem] = []

    @classmethod
    def of(cls, sources: Sequence[str], paths: Sequence[Path]) -> "_Findings":
        """Check everything that can be read; report the rest as problems."""
        findings = cls()
        templates, handlers = [], None
        try:
            templates += load_templates(paths)
        except InvalidTemplate as error:
            findings.problems += [("", problem) for problem in error.problems]
        except TooLarge as error:
            findings.problems.append(("", Problem(str(error))))
        try:
            handlers = Handlers.of(*sources) if sources else None
            templates += handlers.templates() if handlers is not None else ()
        except HandlerImportError as error:
            findings.problems.append(("", Problem(str(error))))
        except InvalidTemplate as error:
            findings.problems += [("", problem) for problem in error.problems]
        findings.templates = [template.full_name for template in templates]
        if handlers is not None:
            findings.handlers = len(handlers)
            for template in templates:
                findings.problems += [
                    (template.full_name, problem) for problem in problems_of(template, handlers)
                ]
            for template in templates:
                findings.warnings += assumed_inputs(template, handlers)
            findings.warnings += unused(templates, handlers) if templates else []
        return findings

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


def _print(session: Session, findings: _Findings) -> None:

    for template, problem in findings.problems:
        print_problems(session.out, [problem], of=template)
    print_problems(session.out, findings.warnings, kind="warning", style="yellow")
    checked = (
        f"{counted('template', len(findings.templates))}, {counted('handler', findings.handlers)}"
    )
    if findings.problems:
        session.out.print(
            f"{checked}: {counted('problem', len(findings.problems))}", style="bold red"
        )
    else:
        session.out.print(f"{checked}: no problems", style="green")
