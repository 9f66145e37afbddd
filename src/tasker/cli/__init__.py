"""The command line: `tasker`.

__init__   the commands by name, each imported on use
app        what all commands share: consoles, the store, exit codes
options    options that several commands share
config     options and logs of the commands that read the settings
exits      exit codes and error messages
loading    handlers, templates and signals of commands with a worker
reading    finding a task by id and reading all of it
commands/  the commands, one module per subject
render/    rendering of tasks, progress and documents
"""

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_HELP = "Run and manage durable workflows: versioned templates of steps, with retries."


class CommandEntry(NamedTuple):
    """The module of a command, and its line in the list of commands."""

    module: str
    help: str


COMMANDS: Mapping[str, CommandEntry] = {
    "run": CommandEntry("run", "Run a task until it ends, with a worker in this process."),
    "worker": CommandEntry("worker", "Run a worker until SIGTERM or SIGINT."),
    "server": CommandEntry("server", "Serve the API until SIGTERM or SIGINT."),
    "dev": CommandEntry(
        "dev",
        "Run a worker that reloads changed handlers and templates, and serve the web UI.",
    ),
    "check": CommandEntry("check", "Check templates and handlers, and whether they match."),
    "task": CommandEntry(
        "task", "List, show, create, cancel, retry, resolve, pause and signal tasks."
    ),
    "bulk": CommandEntry("bulk", "List, show, follow and stop bulk operations."),
    "approval": CommandEntry("approval", "List and decide approvals that steps wait for."),
    "broadcast": CommandEntry(
        "broadcast", "Send a broadcast to all steps of a namespace that wait for its name and key."
    ),
    "template": CommandEntry("template", "Show, register, review and pause templates."),
    "generate": CommandEntry(
        "generate", "Generate types and handlers from a template, in several languages."
    ),
    "limit": CommandEntry("limit", "List and set limits on the steps that share a key."),
    "queue": CommandEntry(
        "queue", "List, pause and resume the queues of handlers, and set their weights."
    ),
    "schedule": CommandEntry(
        "schedule", "Create, list, show, pause, resume, trigger, delete and backfill schedules."
    ),
    "event": CommandEntry("event", "List the published events of steps and tasks."),
    "hook": CommandEntry(
        "hook",
        "Declare, list and delete provider hooks, which turn requests into broadcasts or signals.",
    ),
    "webhook": CommandEntry(
        "webhook",
        "Create, list and change webhooks, which receive events, and inspect deliveries.",
    ),
    "analytics": CommandEntry(
        "analytics", "Show durations, error rates, slow and failing steps, and frequent errors."
    ),
    "series": CommandEntry(
        "series",
        "Show figures over time: created, ended and failed tasks, steps, retries and durations.",
    ),
    "failure": CommandEntry(
        "failure", "List causes of failures, assign them, add notes and mute them."
    ),
    "search": CommandEntry(
        "search",
        "Search tasks by id or correlation id, and workflows, namespaces and workers by name.",
    ),
    "system": CommandEntry("system", "Show the state of the store, its workers and its steps."),
    "namespace": CommandEntry(
        "namespace", "List, show and pause namespaces, and set their owners and review policies."
    ),
    "key": CommandEntry("key", "Create, list and revoke API keys."),
    "db": CommandEntry("db", "Upgrade and inspect the store, and delete old tasks."),
    "config": CommandEntry("config", "Show the settings of servers and workers."),
    "demo": CommandEntry(
        "demo",
        "Run example workflows of five teams, with a worker crash and a retry by an operator.",
    ),
    "mcp": CommandEntry(
        "mcp", "Serve the Model Context Protocol on stdin and stdout, for AI assistants."
    ),
    "version": CommandEntry("version", "Print the versions of Tasker and its dependencies."),
}

_EXTRAS: Mapping[str, str] = {
    "fastapi": "server",
    "starlette": "server",
    "uvicorn": "server",
    "jwt": "server",
    "asyncpg": "postgres",
    "httpx": "client",
    "mcp": "mcp",
    "prometheus_client": "server",
}
"""The extra that installs each package, by the package's name."""


class _LazyGroup(TyperGroup):
    """Imports a command's module only when that command runs or shows its help."""

    def __init__(self, **settings: Any) -> None:
        lines = {name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()}
        super().__init__(**{**settings, "commands": lines})

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name and listed else listed, rest


def load_command(name: str) -> Any:
    """Import a command.

    Raises:
        typer.Exit: The command needs a package that is not installed; the message names the extra.
    """
    try:
        with _without_garbage_collection():
            module = import_module(f"tasker.cli.commands.{COMMANDS[name].module}")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        typer.echo(
            f"error: `tasker {name}` needs {error.name}, which is not installed:"
            f" pip install 'tasker-workflows[{extra}]'",
            err=True,
        )
        raise typer.Exit(2) from None
    command = get_command(module.app)
    command.name = name
    return command


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause garbage collection, which would take an eighth of the time of an import."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def make_app() -> typer.Typer:
    """Create the command line application."""
    app = typer.Typer(
        name="tasker",
        cls=_LazyGroup,
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(help=_HELP)(_parse_global_options)
    return app


def _print_version_and_exit(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tasker {version('tasker-workflows')}")
        raise typer.Exit


def _parse_global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version_and_exit,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Parse the options that precede the command."""


def _reopen_closed_standard_streams() -> None:
    """Reopen closed standard streams, so that no file opened later gets their descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123


def main() -> None:
    """Run the command line."""
    _reopen_closed_standard_streams()
    make_app()(prog_name="tasker")
