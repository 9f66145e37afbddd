"""Options, settings and logs of the commands that read the settings file."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker.cli import logs
from tasker.cli.app import Invocation
from tasker.settings import Settings, load_settings

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="TASKER_CONFIG",
        metavar="FILE",
        help="TOML file with settings; default: tasker.toml, if it exists.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="sqlite (the file .tasker/tasker.db), sqlite:FILE, or postgresql://...",
    ),
]


def load_config(config: Path | None, overrides: Mapping[str, Any]) -> Settings:
    """Return the settings.

    Args:
        config: The settings file; None means tasker.toml, if it exists.
        overrides: Settings from the command line; None values are ignored.
    """
    return load_settings(config, _drop_unset_options(overrides))


def _drop_unset_options(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given on the command line: those that are not None."""
    given = {
        name: _drop_unset_options(value) if isinstance(value, dict) else value
        for name, value in overrides.items()
        if value is not None
    }
    return {name: value for name, value in given.items() if value != {}}


def set_up_logs_from_settings(
    invocation: Invocation, context: typer.Context, settings: Settings
) -> None:
    """Configure logging according to the settings; the command line takes precedence."""
    source = context.get_parameter_source("log_format")
    given = source is not None and source.name != "DEFAULT"
    log_format = context.params["log_format"] if given else settings.log_format
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    level = max(level - 10 * int(context.params.get("verbose") or 0), logging.DEBUG)
    colours = invocation.stderr_console.is_terminal and not invocation.stderr_console.no_color
    logs.set_up_logging(level, as_json=log_format == "json", colours=colours)
