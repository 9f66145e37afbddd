"""`tasker template ...`: what may be run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.cli import approval
from tasker.cli.acting import Actor
from tasker.cli.complete import complete_template
from tasker.cli.exits import Exit
from tasker.cli.session import Session, command

if TYPE_CHECKING:
    from tasker.client import Client
    from tasker.model import Template

Reference = Annotated[
    str,
    typer.Argument(
        metavar="TEMPLATE",
        help="A registered name, as payments.process_refund@^2.1, or a YAML file.",
        autocompletion=complete_template,
    ),
]
Workflows = Annotated[
    list[str] | None,
    typer.Option(
        "--handlers", "-H", metavar="MODULE|FILE|DIR", help="Workflows written in Python."
    ),
]


def add_to(app: typer.Typer) -> None:
    templates = typer.Typer(no_args_is_help=True, help="Templates: look, register, approve.")
    command(templates, "list")(list_templates)
    command(templates, "show")(show)
    command(templates, "register")(register)
    command(templates, "draw")(draw)
    approval.add_to(templates)
    app.add_typer(templates, name="template")


async def list_templates(
    session: Session,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME")] = None,
) -> None:
    """List the registered templates, all versions."""
    from tasker import versions
    from tasker.cli.style import put
    from tasker.cli.tables import templates_table

    async with session.client() as client:
        stored = await client.templates(namespace, name)

    def order(one: Any) -> tuple[str, str, Any]:
        template = one.template
        return template.namespace, template.name, versions.sort_key(template.version)

    stored = sorted(stored, key=order)
    if session.as_json:
        session.document(
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
        put(session.out, templates_table(stored))
    else:
        session.err.print("no such templates")


async def show(session: Session, template: Reference, handlers: Workflows = None) -> None:
    """Print a template's definition: YAML, or JSON with --json."""
    from tasker.cli.shown import tell_template
    from tasker.template import dump_yaml, to_document

    found = await _found(session, template, handlers)
    if session.as_json:
        session.document(to_document(found))
    else:
        tell_template(session.out, dump_yaml(found))


async def draw(
    session: Session,
    template: Reference,
    handlers: Workflows = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", metavar="", help="For Mermaid, as in Markdown.")
    ] = False,
) -> None:
    """Draw a template's graph."""
    from tasker.cli import graphs
    from tasker.cli.shown import tell_graph

    found = await _found(session, template, handlers)
    if session.as_json:
        graph = {spec.name: list(spec.dependencies) for spec in found.steps}
        session.document({"template": found.full_name, "dependencies": graph})
    elif mermaid:
        session.out.print(graphs.mermaid(found), soft_wrap=True)
    else:
        tell_graph(session.out, found)


async def register(
    session: Session,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|DIR]...", help="YAML files, or directories of them."),
    ] = None,
    handlers: Workflows = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", metavar="", help="Replace versions that differ; tasks keep theirs."
        ),
    ] = False,
    actor: Actor = None,
) -> Exit:
    """Register templates, so that any process can create their tasks.

    The same content again is fine. Other content under a version that exists is refused,
    with exit code 5; the other templates are registered nevertheless.
    """
    from tasker.cli.serving import load

    if not paths and not handlers:
        raise typer.BadParameter("name files, directories, or --handlers", param_hint="FILE")
    loaded = load(handlers or (), paths or ())
    async with session.client(make=True, actor=actor) as client:
        told = [await _registered(client, template, replace) for template in loaded.templates]
    if session.as_json:
        session.document({"templates": told})
    for one in told:
        if "error" in one:
            session.err.print(f"refused: {one['error']}", style="red", soft_wrap=True)
        elif not session.as_json:
            waits = "" if one["status"] == "approved" else f" ({one['status']})"
            session.out.print(f"{one['outcome']}: {one['template']}{waits}")
    return Exit.REFUSED if any("error" in one for one in told) else Exit.DONE


async def _registered(client: "Client", template: "Template", replace: bool) -> dict[str, str]:
    """Register one template; tell what came of it."""
    from tasker.errors import TaskRegistrationError

    told = {"template": template.full_name}
    try:
        registered = await client.register(template, replace=replace)
    except TaskRegistrationError as error:
        return {**told, "outcome": "refused", "error": str(error)}
    status = registered.stored.status
    outcome = "registered" if registered.created else "unchanged"
    return {**told, "outcome": outcome, "status": status.value}


async def _found(session: Session, reference: str, handlers: list[str] | None) -> "Template":
    """Find a template in a file, among workflows, or in the store."""
    from tasker.cli.serving import is_file, load
    from tasker.template import load_template

    if is_file(reference):
        return load_template(reference)
    if handlers:
        from tasker.client.templates import DEFAULT_NAMESPACE

        loaded = load(handlers, ())
        name, _, version = reference.partition("@")
        name = name if "." in name else f"{DEFAULT_NAMESPACE}.{name}"
        for template in loaded.templates:
            if f"{template.namespace}.{template.name}" == name and version in (
                "",
                template.version,
            ):
                return template
    async with session.client() as client:
        return (await client.template(reference)).template
