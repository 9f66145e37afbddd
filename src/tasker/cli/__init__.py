"""The command line: `tasker`.

    __init__   the commands, and the way in
    session    what every command has: consoles, the store, its end
    options    options that several commands share
    exits      exit codes, and what is said about errors
    style      how states, times and values look
    progress   tasks followed by events: live on terminals, lines elsewhere

Commands import what they need when they run, so that `tasker --help` is quick.
"""

import os
import sys

import typer

from tasker.cli import (
    about,
    check,
    db,
    dev,
    key,
    namespace,
    run,
    server,
    task,
    template,
    worker,
)


def make_app() -> typer.Typer:
    """Gather the commands."""
    app = typer.Typer(
        name="tasker",
        help="Durable workflows: versioned templates, steps that depend on steps, retries.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    for commands in (run, worker, server, dev, check, task, template, namespace, key, db, about):
        commands.add_to(app)
    app.callback()(_nothing)
    return app


def _open_standard_files() -> None:
    """Open those that were closed: what is opened next would take their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123


def _nothing() -> None:
    """Durable workflows: versioned templates, steps that depend on steps, retries."""


def main() -> None:
    """Run the command line."""
    _open_standard_files()
    make_app()(prog_name="tasker")
