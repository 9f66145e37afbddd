"""Options and arguments that several commands share, and the parsing of their values."""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker import codec
from tasker.analytics.model import AnalysisWindow
from tasker.cli.completion import suggest_templates
from tasker.durations import parse_duration
from tasker.errors import InvalidInput, TooLarge
from tasker.model import TaskStatus
from tasker.suggest import did_you_mean

CONTEXT_LIMIT = 64 << 20  #: maximum bytes read from an @file; the store has its own limit
_LONGEST = timedelta(days=36_500)


def parse_duration_option(text: str | timedelta) -> timedelta:
    """Parse the duration in an option; see `durations.parse_duration`."""
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if span > _LONGEST:
        raise typer.BadParameter(f"{text!r} is too long: the maximum is {_LONGEST.days:,} days")
    return span


def parse_time(text: str | datetime) -> datetime:
    """Parse a time: ISO 8601, or a duration before now."""
    if isinstance(text, datetime):
        return text
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return instant.astimezone(UTC)  # a time without a zone is local
    try:
        return datetime.now(UTC) - parse_duration_option(text)
    except typer.BadParameter:
        raise typer.BadParameter(
            f'{text!r} is neither a date or time ("2026-01-31", "2026-01-31T12:00:00Z")'
            ' nor a duration before now ("2h", "30d")'
        ) from None


def parse_json_or_file(text: Any) -> Any:
    """Parse JSON from the text itself, from `@file`, or from stdin (`@-`)."""
    if not isinstance(text, str):
        return text
    source, content = _read_json_argument(text)
    try:
        return codec.parse_untrusted(content, what=source, limit=CONTEXT_LIMIT)
    except InvalidInput as error:
        raise typer.BadParameter(
            _append_error_line(f"{error}{_suggest_string_quotes(text)}", content)
        ) from None
    except TooLarge as error:
        raise typer.BadParameter(str(error)) from None


def parse_task_context(text: Any) -> Any:
    """Parse a task's input, which is a JSON object."""
    value = parse_json_or_file(text)
    if not isinstance(value, dict):
        raise typer.BadParameter(
            """the context must be a JSON object such as '{"order_id": 7}', not """
            + _json_kind_name(value)
        )
    return value


def _json_kind_name(value: Any) -> str:
    """Name the kind of a JSON value that is not an object."""
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(
        type(value), "a number"
    )


def _read_json_argument(text: str) -> tuple[str, bytes]:
    """Return the source of a JSON value, and its bytes."""
    if not text.startswith("@"):
        return "the text", text.encode("utf-8", "surrogateescape")
    name = text[1:]
    if name in ("-", ""):
        return "stdin", sys.stdin.buffer.read(CONTEXT_LIMIT + 1)
    try:
        with Path(name).open("rb") as file:
            return name, file.read(CONTEXT_LIMIT + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise typer.BadParameter(f"cannot read {name}: {why}") from None


def _suggest_string_quotes(text: str) -> str:
    """Suggest JSON quotes inside shell quotes for a single unquoted word."""
    return f"; to pass a string, write '\"{text}\"'" if re.fullmatch(r"[\w .:/@-]+", text) else ""


def _append_error_line(message: str, content: bytes) -> str:
    """Append the line of a JSON error, with a mark below its position."""
    place = re.search(r"line (\d+), column (\d+)", message)
    if place is None:
        return message
    lines = content.decode("utf-8", "replace").splitlines() or [""]
    number, column = int(place[1]), int(place[2])
    if number > len(lines):
        return message
    begin = max(column - 60, 0)
    line = lines[number - 1][begin : column + 30].replace("\t", " ")
    return f"{message}\n  {line}\n  {' ' * (column - begin - 1)}^"


def parse_attribute(text: Any) -> tuple[str, str]:
    """Parse `NAME=VALUE`."""
    name, equals, value = str(text).partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"expected NAME=VALUE, such as order_id=A-17, not {text!r}")
    return name, value


def parse_status(text: Any) -> Any:
    """Parse the status of a task."""
    try:
        return TaskStatus(text)
    except ValueError:
        allowed = [status.value for status in TaskStatus]
        raise typer.BadParameter(
            f"{text!r} is not a task status{did_you_mean(text, allowed)};"
            f" allowed: {', '.join(allowed)}"
        ) from None


def parse_template_reference(text: str | None) -> tuple[str | None, str | None, str | None]:
    """Split `[namespace.]name[@version]` into namespace, name and version."""
    name, _, version = (text or "").partition("@")
    namespace, _, name = name.rpartition(".")
    return namespace or None, name or None, version or None


HandlerSources = Annotated[
    list[str],
    typer.Option(
        "--handlers",
        "-H",
        metavar="MODULE|FILE|DIR",
        help="Source of handlers and workflows: a module, file or directory. Repeatable.",
    ),
]
Namespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Namespace for handlers that do not appear in the given templates; '*' for all"
        " namespaces. Repeatable.",
    ),
]
TemplatePaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--templates",
        "-T",
        metavar="FILE|DIR",
        help="YAML file of a template, or a directory of such files. Repeatable.",
    ),
]
Environment = Annotated[
    str | None,
    typer.Option(
        "--environment",
        envvar="TASKER_ENVIRONMENT",
        metavar="NAME",
        help="Environment whose overrides apply to the templates.",
    ),
]
Context = Annotated[
    Any,
    typer.Option(
        "--context",
        "-c",
        parser=parse_task_context,
        metavar="JSON|@FILE",
        help="Input of the task: a JSON object, @FILE, or @- for stdin.",
    ),
]
Reason = Annotated[
    str, typer.Option("--reason", "-r", metavar="TEXT", help="Reason to record in the audit log.")
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Namespace of templates that are named without one.",
    ),
]
Last = Annotated[
    Any,
    typer.Option(
        "--last",
        parser=parse_duration_option,
        metavar="TIME",
        help="Include only tasks created within this time before now, such as 24h.",
    ),
]
WindowTemplate = Annotated[
    str | None,
    typer.Option(
        "--template",
        "-t",
        metavar="NAME",
        help="Template: [NAMESPACE.]NAME[@VERSION].",
        autocompletion=suggest_templates,
    ),
]
WindowNamespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Select tasks of this namespace."),
]


def make_analysis_window(
    last: timedelta, template: str | None = None, namespace: str | None = None
) -> AnalysisWindow:
    """Return the window that the options of a command name."""
    space, name, version = parse_template_reference(template)
    return AnalysisWindow(
        hours=last / timedelta(hours=1),
        namespace=namespace or space,
        name=name,
        version=version,
    )
