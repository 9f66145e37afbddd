"""`tasker check`: finds mistakes before anything runs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker.cli.app import Invocation, register_command
from tasker.cli.exits import ExitCode, print_problems
from tasker.cli.loading import LoadedSources
from tasker.cli.options import Namespaces, TemplatePaths
from tasker.client import Client
from tasker.errors import (
    DocumentProblem,
    HandlerImportError,
    InvalidTemplate,
    NotFound,
    TemplateNotApproved,
    TooLarge,
)
from tasker.handlers import (
    Handlers,
    derive_result_schemas,
    find_inputs_named_like_steps,
    find_unused_handlers,
)
from tasker.handlers import find_template_problems as problems_of
from tasker.handlers.registry import EVERY_NAMESPACE
from tasker.model import TaskFilter, TaskId, TaskStatus, Template, TemplateName
from tasker.plurals import format_count
from tasker.template.document import hash_template_document, template_to_document
from tasker.template.expression_checks import find_expression_problems
from tasker.template.load import load_templates

app = typer.Typer(add_completion=False)


_MOST_TASKS = 10_000  #: maximum number of open tasks counted per status
_PAGE = 100


@register_command(app, "check", store=None)
async def check_templates_and_handlers(
    invocation: Invocation,
    templates: TemplatePaths = None,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Source of handlers and workflows; if omitted, only templates are checked.",
        ),
    ] = None,
    namespaces: Namespaces = None,
    served_elsewhere: Annotated[
        list[str] | None,
        typer.Option(
            "--served-elsewhere",
            metavar="HANDLER",
            help="Handler that other workers serve (perhaps in another language), such as"
            " payments.charge or 'payments.*'. Repeatable.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "--server",
            metavar="URL",
            help="Also check against the templates and open tasks of this store, before a deploy.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", metavar="", help="Treat warnings as problems.")
    ] = False,
) -> ExitCode:
    """Check templates and handlers, and whether they match.

    Templates must be well-formed. Every step needs a handler, every parameter of a handler
    needs a source, results must come from earlier steps, and type hints must agree with
    schemas. Unused handlers are reported as warnings. Name handlers that only other
    workers have with --served-elsewhere.

    With --store or --server, the command also checks a deploy: every step of the open tasks
    needs a handler in the required version, with parameters that match the task's template,
    and no template may differ from the registered content of its version. If templates or
    --namespace name any namespaces, only the tasks in these namespaces are checked.

    Exit code: 0 no problems, 1 problems found.
    """
    if not templates and not handlers:
        raise typer.BadParameter(
            "specify --templates, --handlers, or both", param_hint="--templates"
        )
    findings = _CheckFindings(served_elsewhere or ())
    findings.check_sources(handlers or (), templates or ())
    if store is not None:
        invocation.store_url = store
        async with invocation.open_client() as client:
            await findings.check_against_store(client, namespaces or ())
    if invocation.as_json:
        invocation.print_json(findings.to_document())
    else:
        _print_findings(invocation, findings)
    failed = bool(findings.problems or (strict and findings.warnings))
    return ExitCode.FAILED if failed else ExitCode.DONE


class _CheckFindings:
    """The checked templates and the problems in them."""

    def __init__(self, served_elsewhere: Sequence[str]) -> None:
        self._served_elsewhere = served_elsewhere
        self.templates: list[str] = []
        self.handlers = 0
        self.loaded = LoadedSources(Handlers.collect(), [])  #: the templates that could be read
        self.problems: list[tuple[str, DocumentProblem]] = []  #: (template or "", problem)
        self.warnings: list[DocumentProblem] = []

    def check_sources(self, sources: Sequence[str], paths: Sequence[Path]) -> None:
        """Check all readable sources, and report unreadable ones as problems."""
        templates, handlers = [], None
        try:
            templates += load_templates(paths)
        except InvalidTemplate as error:
            self.problems += [("", problem) for problem in error.problems]
        except TooLarge as error:
            self.problems.append(("", DocumentProblem(str(error))))
        try:
            handlers = Handlers.collect(*sources) if sources else None
            templates += handlers.templates() if handlers is not None else ()
        except HandlerImportError as error:
            self.problems.append(("", DocumentProblem(str(error))))
        except InvalidTemplate as error:
            self.problems += [("", problem) for problem in error.problems]
        self.templates = [template.full_name for template in templates]
        for template in templates:
            schemas = {} if handlers is None else derive_result_schemas(template, handlers)
            self.problems += [
                (template.full_name, problem)
                for problem in find_expression_problems(template, schemas)
            ]
        if handlers is not None:
            self.loaded = LoadedSources(handlers, templates)
            self.handlers = len(handlers) + len(handlers.list_called_undecorated_names(templates))
            for template in templates:
                self.problems += [
                    (template.full_name, problem)
                    for problem in problems_of(template, handlers, self._served_elsewhere)
                ]
            for template in templates:
                self.warnings += find_inputs_named_like_steps(template, handlers)
            self.warnings += find_unused_handlers(templates, handlers) if templates else []

    async def check_against_store(self, client: Client, namespaces: Sequence[str]) -> None:
        """Check against the registered templates and the open tasks of a store or server."""
        handlers, templates = self.loaded
        for template in templates:
            await self._compare_with_registered(client, template)
        bound = handlers.bind_to_namespaces(templates, namespaces or [EVERY_NAMESPACE])
        scope = {*namespaces, *(template.namespace for template in templates)}
        open_tasks = await _count_open_tasks(client)
        here = {template.key for template in templates}
        for name, count in sorted(open_tasks.items()):
            outside = scope and EVERY_NAMESPACE not in scope and name.namespace not in scope
            if outside or name in here:
                continue
            tasks = format_count("open task", count)
            try:
                template = (await client.template(str(name))).template
            except (NotFound, TemplateNotApproved):
                self.problems.append(
                    (str(name), DocumentProblem(f"{tasks}: the template no longer exists"))
                )
                continue
            self.problems += [
                (str(name), replace(problem, message=f"{tasks}: {problem.message}"))
                for problem in problems_of(template, bound, self._served_elsewhere)
            ]
            message = f"{name} has {tasks} but is not among the given templates"
            self.warnings.append(DocumentProblem(message))

    async def _compare_with_registered(self, client: Client, template: Template) -> None:
        """Add a problem if the registered template of the same version differs."""
        try:
            registered = (await client.template(template.full_name)).template
        except NotFound:
            return
        if hash_template_document(template_to_document(registered)) != hash_template_document(
            template_to_document(template)
        ):
            message = "the template differs from the registered one: give it a new version"
            self.problems.append((template.full_name, DocumentProblem(message)))

    def to_document(self) -> dict[str, Any]:
        return {
            "ok": not self.problems,
            "templates": self.templates,
            "handlers": self.handlers,
            "problems": [
                _problem_document(problem, template) for template, problem in self.problems
            ],
            "warnings": [_problem_document(problem, "") for problem in self.warnings],
        }


async def _count_open_tasks(client: Client) -> Counter[TemplateName]:
    """Count the open tasks of each template version, up to a limit, newest first."""
    count: Counter[TemplateName] = Counter()
    for status in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS):
        after: TaskId | None = None
        for _ in range(_MOST_TASKS // _PAGE):
            page = await client.tasks(TaskFilter(status=status), after=after, limit=_PAGE)
            count.update(task.template for task in page)
            if len(page) < _PAGE:
                break
            after = page[-1].id
    return count


def _problem_document(problem: DocumentProblem, template: str) -> dict[str, Any]:
    return {
        "template": template or None,
        "message": problem.message,
        "path": problem.path or None,
        "file": problem.file or None,
        "line": problem.line,
        "column": problem.column,
    }


def _print_findings(invocation: Invocation, findings: _CheckFindings) -> None:

    for template, problem in findings.problems:
        print_problems(invocation.stdout_console, [problem], of=template)
    print_problems(invocation.stdout_console, findings.warnings, kind="warning", style="yellow")
    templates = format_count("template", len(findings.templates))
    checked = f"{templates}, {format_count('handler', findings.handlers)}"
    if findings.problems:
        invocation.stdout_console.print(
            f"{checked}: {format_count('problem', len(findings.problems))}", style="bold red"
        )
    else:
        invocation.stdout_console.print(f"{checked}: no problems", style="green")
