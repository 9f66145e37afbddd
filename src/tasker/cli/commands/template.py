"""`tasker template ...`: templates and their versions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tasker import versions
from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.completion import suggest_templates
from tasker.cli.exits import ExitCode
from tasker.cli.loading import explain_version_conflicts, is_template_file_reference, load_sources
from tasker.cli.options import Reason
from tasker.cli.pausing import pause_target, resume_target
from tasker.cli.render import graphs
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import format_relative_time, print_table, to_printable_line
from tasker.cli.render.tables import make_table, templates_table
from tasker.cli.render.task import render_template_graph, render_template_yaml
from tasker.client import Client
from tasker.client.templates import DEFAULT_NAMESPACE, split_template_reference
from tasker.durations import human_duration
from tasker.errors import TaskRegistrationError
from tasker.model import MAX_BULK, PauseTarget, Template, TemplateVersion
from tasker.template.document import template_to_document
from tasker.template.dump import dump_yaml
from tasker.template.load import load_template

Reference = Annotated[
    str,
    typer.Argument(
        metavar="TEMPLATE",
        help="A registered template such as payments.process_refund@^2.1, or a YAML file.",
        autocompletion=suggest_templates,
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="TEMPLATE",
        help="A registered template such as payments.process_refund.",
        autocompletion=suggest_templates,
    ),
]
Workflows = Annotated[
    list[str] | None,
    typer.Option(
        "--handlers", "-H", metavar="MODULE|FILE|DIR", help="Workflows written in Python."
    ),
]

app = make_command_group("Show, register, review and pause templates.")


@register_command(app, "pause", acts=True)
async def pause_template(invocation: Invocation, template: Name, reason: Reason = "") -> None:
    """Pause the tasks of all versions of a template: no new steps start; running attempts
    continue.
    """
    namespace, name, _ = split_template_reference(template, None, None)
    async with invocation.open_client(operates=True) as client:
        await pause_target(invocation, client, PauseTarget.of_template(namespace, name), reason)


@register_command(app, "resume", acts=True)
async def resume_template(invocation: Invocation, template: Name, reason: Reason = "") -> None:
    """Resume the tasks of a template, except those that were paused individually."""
    namespace, name, _ = split_template_reference(template, None, None)
    async with invocation.open_client(operates=True) as client:
        await resume_target(invocation, client, PauseTarget.of_template(namespace, name), reason)


@register_command(app, "list")
async def list_templates(
    invocation: Invocation,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only templates of this namespace."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show only versions of the template with this name."),
    ] = None,
) -> None:
    """List all versions of the registered templates."""
    async with invocation.open_client() as client:
        stored = await client.templates(namespace, name)

    def sort_by_name_and_version(one: Any) -> tuple[str, str, Any]:
        template = one.template
        return template.namespace, template.name, versions.sort_key(template.version)

    stored = sorted(stored, key=sort_by_name_and_version)
    if invocation.as_json:
        invocation.print_json(
            {
                "templates": [
                    {
                        **one.template.key._asdict(),
                        "description": one.template.description,
                        "steps": [spec.name for spec in one.template.steps],
                        "status": one.status,
                        "registered_at": one.registered_at,
                        "registered_by": one.registered_by,
                    }
                    for one in stored
                ]
            }
        )
    elif stored:
        print_table(invocation.stdout_console, templates_table(stored))
    else:
        invocation.stderr_console.print("no templates match")


@register_command(app, "show")
async def show_template(
    invocation: Invocation, template: Reference, handlers: Workflows = None
) -> None:
    """Print a template's definition: YAML, or JSON with --json."""
    definition = await find_template(invocation, template, handlers)
    if invocation.as_json:
        invocation.print_json(template_to_document(definition))
    else:
        render_template_yaml(invocation.stdout_console, dump_yaml(definition))


@register_command(app, "durations")
async def show_usual_durations(
    invocation: Invocation,
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help="[NAMESPACE.]NAME[@VERSION]; default: the latest version.",
            autocompletion=suggest_templates,
        ),
    ],
) -> None:
    """Show how long a template version and its steps usually take.

    The figures come from the version's newest complete tasks, at most 50.
    """
    async with invocation.open_client() as client:
        usual = await client.usual_durations(template)
    if invocation.as_json:
        invocation.print_json(to_plain_json(usual))
        return
    if usual.task is None:
        invocation.stderr_console.print("no task of this version is complete")
        return
    numbers = ("measured", "median", "95 %")
    rows = make_table("step", *numbers, right=numbers)
    for name, one in (*usual.steps.items(), ("the task", usual.task)):
        rows.add_row(name, f"{one.runs:,}", human_duration(one.median), human_duration(one.p95))
    print_table(invocation.stdout_console, rows)


@register_command(app, "draw")
async def draw_graph(
    invocation: Invocation,
    template: Reference,
    handlers: Workflows = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", metavar="", help="Print Mermaid source, for Markdown.")
    ] = False,
) -> None:
    """Draw a template's graph."""
    definition = await find_template(invocation, template, handlers)
    if invocation.as_json:
        graph = {spec.name: list(spec.dependencies) for spec in definition.steps}
        invocation.print_json({"template": definition.full_name, "dependencies": graph})
    elif mermaid:
        invocation.stdout_console.print(graphs.to_mermaid(definition), soft_wrap=True)
    else:
        render_template_graph(invocation.stdout_console, definition)


@register_command(app, "register", acts=True)
async def register_templates(
    invocation: Invocation,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|DIR]...", help="YAML files, or directories of YAML files."),
    ] = None,
    handlers: Workflows = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            metavar="",
            help="Replace registered versions that differ; existing tasks keep the old content.",
        ),
    ] = False,
) -> ExitCode:
    """Register templates, so that any process can create tasks from them.

    Registering the same content again changes nothing. Different content for an existing version
    is rejected, with exit code 5; the other templates are still registered.
    """
    if not paths and not handlers:
        raise typer.BadParameter("specify files, directories, or --handlers", param_hint="FILE")
    loaded = load_sources(handlers or (), paths or ())
    async with invocation.open_client(create=True) as client:
        outcomes = [
            outcome
            for first in range(0, len(loaded.templates), MAX_BULK)
            for outcome in await _register_templates(
                client, loaded.templates[first : first + MAX_BULK], replace
            )
        ]
    if invocation.as_json:
        invocation.print_json({"templates": outcomes})
    for one in outcomes:
        if "error" in one:
            invocation.stderr_console.print(
                f"rejected: {one['error']}", style="red", soft_wrap=True
            )
        elif not invocation.as_json:
            waits = "" if one["status"] == "approved" else f" ({one['status']})"
            invocation.stdout_console.print(f"{one['outcome']}: {one['template']}{waits}")
    return ExitCode.REJECTED if any("error" in one for one in outcomes) else ExitCode.DONE


async def _register_templates(
    client: Client, templates: Sequence[Template], replace: bool
) -> list[dict[str, str]]:
    """Register templates together, or one by one if any is rejected; return their outcomes."""
    try:
        conflicts = templates if len(templates) == 1 else ()
        async with explain_version_conflicts(client, conflicts):
            registered = await client.register_all(templates, replace=replace)
    except TaskRegistrationError as error:
        if len(templates) > 1:
            return [
                outcome
                for template in templates
                for outcome in await _register_templates(client, [template], replace)
            ]
        return [{"template": templates[0].full_name, "outcome": "rejected", "error": str(error)}]
    return [
        {
            "template": one.stored.template.full_name,
            "outcome": "registered" if one.created else "unchanged",
            "status": one.stored.status.value,
        }
        for one in registered
    ]


async def find_template(
    invocation: Invocation, reference: str, handlers: list[str] | None
) -> Template:
    """Find a template in a file, among workflows, or in the store."""
    if is_template_file_reference(reference):
        return load_template(reference)
    if handlers:
        loaded = load_sources(handlers, ())
        name, _, version = reference.partition("@")
        name = name if "." in name else f"{DEFAULT_NAMESPACE}.{name}"
        for template in loaded.templates:
            if f"{template.namespace}.{template.name}" == name and version in (
                "",
                template.version,
            ):
                return template
    async with invocation.open_client() as client:
        return (await client.template(reference)).template


Version = Annotated[
    str,
    typer.Argument(
        metavar="TEMPLATE", help="Template with its version, such as payments.process_refund@2.1.0."
    ),
]
_STYLES = {
    "approved": "green",
    "pending_review": "yellow",
    "rejected": "red",
    "retired": "dim",
}


@register_command(app, "status")
async def show_version_statuses(
    invocation: Invocation,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Show only templates of this namespace."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Show only versions of the template with this name."),
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", metavar="", help="List only versions pending review.")
    ] = False,
) -> None:
    """List versions with their statuses, who registered them, who reviewed them, and why."""
    async with invocation.open_client() as client:
        matches = await client.template_versions(namespace, name)
    matches = [one for one in matches if not waiting or one.status == "pending_review"]
    if invocation.as_json:
        invocation.print_json({"versions": matches})
    elif matches:
        print_version_table(invocation.stdout_console, matches)
    else:
        invocation.stderr_console.print("no versions match")


@register_command(app, "approve", acts=True)
async def approve_version(invocation: Invocation, template: Version, reason: Reason = "") -> None:
    """Approve a version that is pending review, so that tasks can be created from it."""
    async with invocation.open_client() as client:
        _print_version_status(
            invocation, await client.review(template, approve=True, reason=reason)
        )


@register_command(app, "reject", acts=True)
async def reject_version(
    invocation: Invocation,
    template: Version,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", "-r", metavar="TEXT", help="Reason to record in the audit log (required)."
        ),
    ],
) -> None:
    """Reject a version that is pending review. Changed content may be registered again."""
    async with invocation.open_client() as client:
        _print_version_status(
            invocation, await client.review(template, approve=False, reason=reason)
        )


@register_command(app, "retire", acts=True)
async def retire_version(invocation: Invocation, template: Version, reason: Reason = "") -> None:
    """Retire a version: no new tasks can be created from it. Its open tasks continue."""
    async with invocation.open_client() as client:
        _print_version_status(invocation, await client.retire(template, reason=reason))


@register_command(app, "restore", acts=True)
async def restore_version(invocation: Invocation, template: Version, reason: Reason = "") -> None:
    """Restore a retired version, so that tasks can be created from it again."""
    async with invocation.open_client() as client:
        _print_version_status(invocation, await client.restore(template, reason=reason))


def print_version_table(console: Console, versions: Sequence[TemplateVersion]) -> None:
    """Show versions as a table."""
    now = datetime.now(UTC)
    rows = make_table(
        "template", "version", "status", "registered", "by", "decided", "by", "reason"
    )
    for one in versions:
        rows.add_row(
            Text(f"{one.namespace}.{one.name}", style="bold"),
            one.version,
            Text(one.status.value, style=_STYLES[one.status]),
            Text(format_relative_time(one.registered_at, now), style="dim"),
            Text(to_printable_line(one.registered_by)),
            Text(format_relative_time(one.decided_at, now), style="dim"),
            Text(to_printable_line(one.decided_by or "")),
            Text(to_printable_line(one.reason)),
        )
    print_table(console, rows)


def _print_version_status(invocation: Invocation, version: TemplateVersion) -> None:
    if invocation.as_json:
        invocation.print_json(version)
    else:
        invocation.stdout_console.print(f"{version.status}: {version.full_name}")
