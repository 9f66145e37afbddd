"""Formats statuses, times and values for terminals."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    RenderableType,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment
from rich.text import Text

from tasker import codec
from tasker.cli.exits import relative_path
from tasker.durations import human_duration


class StatusAppearance(NamedTuple):
    """The appearance of one state. The symbols differ, so that they can be distinguished without
    colours.
    """

    symbol: str
    plain: str  #: for terminals that only support ASCII
    style: str


LOOKS: Mapping[str, StatusAppearance] = {
    "pending": StatusAppearance("○", ".", "dim"),
    "enqueued": StatusAppearance("◎", "o", "cyan"),
    "in_progress": StatusAppearance("●", ">", "bold blue"),
    "waiting": StatusAppearance("◇", "=", "magenta"),
    "waiting_for_retry": StatusAppearance("↻", "~", "yellow"),
    "complete": StatusAppearance("✓", "+", "green"),
    "error": StatusAppearance("✗", "x", "bold red"),
    "cancelled": StatusAppearance("⊘", "-", "magenta"),
    "skipped": StatusAppearance("»", ",", "dim"),
    "resolved_manually": StatusAppearance("◆", "*", "green"),
}
"""The appearance of steps and tasks, by displayed state."""

OUTCOMES: Mapping[str, str] = {
    "retry": "waiting_for_retry",
    "lost": "error",
    "released": "enqueued",
    "parked": "waiting",
}
"""Outcomes of attempts that are not also names of states, each with the state whose appearance it
shares."""

_FRAME = re.compile(r'^  File "(.+?)", line (\d+)', re.MULTILINE)

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters with which printed data could control a terminal or change the order of its text."""

_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", ".:-=+*%#"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class _SanitizedRenderable(NamedTuple):
    """What a console prints, without control characters in its data."""

    printed: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self.printed, options):
            yield Segment(text if control else _replace_control_characters(text), style, control)


class _ControlCharacterFilter(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_SanitizedRenderable(each) for each in renderables]


def _replace_control_characters(text: str) -> str:
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def make_console(
    *, stderr: bool = False, no_color: bool = False, file: object | None = None
) -> Console:
    """Create a console for stdout or stderr; lines wrap only on terminals.

    It prints control characters in data as replacement characters: tasks, templates and errors may
    contain what others wrote.
    """
    console = Console(
        stderr=stderr,
        file=file,  # type: ignore[arg-type]  # rich asks for more than it needs
        no_color=True if no_color else None,
        highlight=False,
        emoji=False,
        markup=False,
        soft_wrap=False,
    )
    if not console.is_terminal:
        console = Console(
            stderr=stderr,
            file=file,  # type: ignore[arg-type]
            no_color=True,
            highlight=False,
            emoji=False,
            markup=False,
            width=4000,
        )
    console.push_render_hook(_ControlCharacterFilter())
    return console


def is_ascii_only(console: Console) -> bool:
    """Return whether the console's encoding lacks the symbols."""
    return console.options.ascii_only


def status_symbol(state: str, *, plain: bool = False) -> Text:
    look = LOOKS[state]
    return Text(look.plain if plain else look.symbol, style=look.style)


def status_text(state: str, *, plain: bool = False) -> Text:
    """Return a state as styled text: its symbol and name."""
    look = LOOKS[state]
    return Text(f"{look.plain if plain else look.symbol} {state}", style=look.style)


def outcome_text(outcome: str, *, plain: bool = False) -> Text:
    """Return an attempt's outcome as styled text."""
    look = LOOKS[OUTCOMES.get(outcome, outcome)]
    return Text(f"{look.plain if plain else look.symbol} {outcome}", style=look.style)


def format_relative_time(instant: datetime | None, now: datetime | None = None) -> str:
    """Format a time relative to now, in the past or the future."""
    if instant is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - instant).total_seconds()
    if seconds < -0.5:
        return f"in {human_duration(-seconds)}"
    if seconds < 1:
        return "a moment ago"
    return f"{' '.join(human_duration(seconds).split()[:2])} ago"  # only the largest unit


def format_local_time(at: datetime | None) -> str:
    """Format a time in the local time zone, to the second."""
    return "" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")


def draw_sparkline(values: Sequence[float], *, plain: bool = False) -> str:
    """Draw values as a line of bars; zero is empty."""
    bars, most = _PLAIN_BARS if plain else _BARS, max(values, default=0)
    return "".join(
        bars[min(int(value / most * len(bars)), len(bars) - 1)] if value > 0 else " "
        for value in values
    )


def to_printable_line(text: object) -> str:
    """Return untrusted text on one line, without terminal control characters."""
    line = " ".join(str(text).split())
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def format_short_json(value: object, most: int = 100) -> str:
    """Format a JSON value on one line, truncated to `most` characters."""
    text = to_printable_line(value if isinstance(value, str) else codec.dumps(value, limit=1 << 30))
    return text if len(text) <= most else text[: most - 1] + "…"


def format_error_line(error: Mapping[str, object] | None) -> str:
    """Format a stored error on one line: its type and message."""
    if not error:
        return ""
    kind, message = (
        to_printable_line(error.get("type", "")),
        to_printable_line(error.get("message", "")),
    )
    if not kind or kind in ("PermanentError", "RetryableError"):
        return message or to_printable_line(error.get("code", ""))
    return f"{kind}: {message}" if message else kind


def find_error_location(error: Mapping[str, object] | None) -> str:
    """Return the file and line of the last frame in a stored trace outside installed packages.

    Empty for an error without such a frame.
    """
    frames = _FRAME.findall(str(error.get("trace", ""))) if error else []
    own = [frame for frame in frames if "site-packages" not in frame[0]]
    return f"{relative_path(own[-1][0])}:{own[-1][1]}" if own else ""


def print_table(console: Console, what: RenderableType) -> None:
    """Print a table, without trailing blanks unless stdout is a terminal."""
    if console.is_terminal:
        console.print(what)
        return
    for line in console.render_lines(what, pad=False):
        console.print("".join(segment.text for segment in line).rstrip(), soft_wrap=True)
