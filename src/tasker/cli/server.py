"""`tasker server`: serves the API until it is told to stop; `tasker config`: its settings."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.cli.exits import Exit
from tasker.cli.options import Environment, TemplatePaths
from tasker.cli.session import Session, command

if TYPE_CHECKING:
    from tasker.configuration import Settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="TASKER_CONFIG",
        metavar="FILE",
        help="Settings, as TOML; default: tasker.toml where there is one.",
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="sqlite (the file .tasker/tasker.db), sqlite:FILE, or postgresql://...",
    ),
]


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
    settings = _settings(config, overrides)
    _set_up_logs(session, context, settings)
    return _serve(settings, insecure=insecure)


async def _serve(settings: "Settings", *, insecure: bool) -> Exit:
    from tasker.cli.hosting import host

    await host(settings, insecure=insecure)
    return Exit.DONE


def show(session: Session, config: ConfigFile = None) -> None:
    """Show all settings as they are in force, with secrets hidden."""
    shown = _settings(config, {}).shown()
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


def _settings(config: Path | None, overrides: dict[str, Any]) -> "Settings":
    from tasker.configuration import load_settings

    return load_settings(config, _said(overrides))


def _said(overrides: dict[str, Any]) -> dict[str, Any]:
    """Keep what was said on the command line."""
    return {
        name: _said(value) if isinstance(value, dict) else value
        for name, value in overrides.items()
        if value is not None and value != {}
    }


def _set_up_logs(session: Session, context: typer.Context, settings: "Settings") -> None:
    """Write logs as the settings say, but where the command line says otherwise."""
    from tasker.cli import logs

    source = context.get_parameter_source("log_format")
    given = source is not None and source.name != "DEFAULT"
    log_format = context.params["log_format"] if given else settings.log_format
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    level = max(level - 10 * int(context.params.get("verbose") or 0), logging.DEBUG)
    colours = session.err.is_terminal and not session.err.no_color
    logs.set_up(level, as_json=log_format == "json", colours=colours)
