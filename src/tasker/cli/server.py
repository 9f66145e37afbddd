"""`tasker server`: serves the API until it is told to stop; `tasker config`: its settings."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.cli.configured import ConfigFile, Store, configured, set_up_logs
from tasker.cli.exits import Exit
from tasker.cli.options import Environment, TemplatePaths
from tasker.cli.session import Session, command

if TYPE_CHECKING:
    from tasker.configuration import Settings


def add_to(app: typer.Typer) -> None:
    command(app, "server", store=None, json=False, level=logging.INFO, fast=True)(server)
    group = typer.Typer(help="The settings of servers and workers.", no_args_is_help=True)
    command(group, "show", store=None)(show)
    app.add_typer(group, name="config")


def server(
    session: Session,
    context: typer.Context,
    config: ConfigFile = None,
    store: Store = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where to listen; default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="Default: 8080.")
    ] = None,
    with_worker: Annotated[
        bool,
        typer.Option("--with-worker", metavar="", help="Run a worker in this process as well."),
    ] = False,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Where the worker's handlers are. Repeatable.",
        ),
    ] = None,
    templates: TemplatePaths = None,
    namespaces: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Policies of namespaces, declared at the start."),
    ] = None,
    environment: Environment = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            metavar="",
            help="Listen beyond this machine though nobody is asked who they are.",
        ),
    ] = False,
) -> Any:
    """Serve the API until SIGTERM or SIGINT.

    The first signal stops it gracefully: it takes no more requests, those under way get
    their grace time, and so do the steps of its worker. The second signal ends it at once.
    Exit code: 0 after a stop, 2 wrong input, 3 no store.
    """
    worker: dict[str, Any] = {
        "embedded": with_worker or None,
        "handlers": handlers,
        "templates": templates,
    }
    overrides: dict[str, Any] = {
        "store": store,
        "namespaces": namespaces,
        "environment": environment,
        "server": {"host": host, "port": port},
        "worker": worker,
    }
    settings = configured(config, overrides)
    set_up_logs(session, context, settings)
    return _serve(settings, insecure=insecure)


async def _serve(settings: "Settings", *, insecure: bool) -> Exit:
    from tasker.cli.hosting import host

    await host(settings, insecure=insecure)
    return Exit.DONE


def show(session: Session, config: ConfigFile = None) -> None:
    """Show all settings as they are in force, with secrets hidden."""
    shown = configured(config, {}).shown()
    if session.as_json:
        session.document(shown)
        return
    import orjson

    top = {name: value for name, value in shown.items() if not isinstance(value, dict)}
    for table, values in (("", top), *_tables(shown)):
        if table:
            session.out.print(f"\n[{table}]")
        for name, value in values.items():
            if not isinstance(value, dict):
                text = "# not set" if value is None else orjson.dumps(value).decode()
                mark = f"# {name}" if value is None else f"{name} = {text}"
                session.out.print(mark, soft_wrap=True)


def _tables(shown: dict[str, Any], within: str = "") -> list[tuple[str, dict[str, Any]]]:
    """List the tables of settings, each before those below it."""
    found = []
    for name, value in shown.items():
        if isinstance(value, dict):
            path = f"{within}{name}"
            found += [(path, value), *_tables(value, f"{path}.")]
    return found
