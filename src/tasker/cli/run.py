"""`tasker run`: a task from its creation to its end, in this process."""

from typing import Annotated, Any

import typer

from tasker.cli.exits import Exit
from tasker.cli.options import (
    Context,
    Environment,
    HandlerSources,
    Namespace,
    TemplatePaths,
    parse_span,
)
from tasker.cli.session import Session, command


def add_to(app: typer.Typer) -> None:
    command(app, "run", fast=True)(run)


async def run(
    session: Session,
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help="A YAML file, or a registered name: payments.process_refund@^2.1",
        ),
    ],
    handlers: HandlerSources,
    templates: TemplatePaths = None,
    context: Context = None,
    namespace: Namespace = None,
    version: Annotated[
        str | None,
        typer.Option(metavar="RANGE", help="Exact, or a range as ^2.1; default: the latest."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="The same key gives the same task, and takes it up again."
        ),
    ] = None,
    correlation_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Goes along with all that the task does.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Repeatable.")] = None,
    timeout: Annotated[
        Any,
        typer.Option(
            parser=parse_span, metavar="TIME", help="How long to wait, as 90 or 10m; then exit 4."
        ),
    ] = None,
    environment: Environment = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", metavar="", help="Replace versions that differ; for development."
        ),
    ] = False,
) -> Exit:
    """Run a task to its end: store and worker are in this process.

    Exit code: 0 complete, 1 failed or cancelled, 2 wrong input, 3 no store, 4 timeout.

    Whatever happens to this process, the task stays in the store: a worker, or the same
    command with the same idempotency key, takes it up again.
    """
    from tasker.cli.embedded import Embedded
    from tasker.cli.output import stdout_kept
    from tasker.cli.serving import load, named

    name, files = named(template)
    with stdout_kept(session.as_json):
        loaded = load(handlers, [*(templates or ()), *files])
        embedded = Embedded(session, loaded, environment=environment, replace=replace)
        code = await embedded.run(
            name,
            context or {},
            timeout=timeout,
            namespace=namespace,
            version=version,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
            tags=tuple(tag or ()),
        )
    if session.as_json and embedded.document is not None:
        session.document(embedded.document)
    return code
