"""What commands that read the configuration share: its options, its file, its log."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.cli.session import Session

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


def configured(config: Path | None, overrides: Mapping[str, Any]) -> "Settings":
    """Gather the settings; of `overrides`, what is None was not said."""
    from tasker.configuration import load_settings

    return load_settings(config, _said(overrides))


def _said(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was said on the command line."""
    said = {
        name: _said(value) if isinstance(value, dict) else value
        for name, value in overrides.items()
        if value is not None
    }
    return {name: value for name, value in said.items() if value != {}}


def set_up_logs(session: Session, context: typer.Context, settings: "Settings") -> None:
    """Write logs as the settings say, but where the command line says otherwise."""
    from tasker.cli import logs

    source = context.get_parameter_source("log_format")
    given = source is not None and source.name != "DEFAULT"
    log_format = context.params["log_format"] if given else settings.log_format
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    level = max(level - 10 * int(context.params.get("verbose") or 0), logging.DEBUG)
    colours = session.err.is_terminal and not session.err.no_color
    logs.set_up(level, as_json=log_format == "json", colours=colours)
