"""How states, times and values look."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasker.cli.render.json import write_json_document
from tasker.cli.render.style import (
    LOOKS,
    OUTCOMES,
    format_error_line,
    format_relative_time,
    format_short_json,
    make_console,
    outcome_text,
    print_table,
    status_text,
    to_printable_line,
)
from tasker.cli.render.task import format_blocking_reason
from tasker.model import AttemptOutcome, StepStatus, TaskStatus
from tasker.why import Reason

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_every_status_and_outcome_has_its_own_style() -> None:
    shown = {*StepStatus, *TaskStatus, "waiting_for_retry"}

    assert shown == set(LOOKS)
    assert len(LOOKS) == len({look.symbol for look in LOOKS.values()})
    assert len(LOOKS) == len({look.plain for look in LOOKS.values()})
    assert all(look.plain.isascii() for look in LOOKS.values())
    assert {*AttemptOutcome} <= {*LOOKS, *OUTCOMES}
    assert "✗ error" == status_text("error").plain
    assert "x lost" == outcome_text("lost", plain=True).plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-90, "in 1 min 30 s"), (0.2, "a moment ago"), (7200, "2 h ago")],
)
def test_instants_are_shown_relative_to_now(seconds: float, text: str) -> None:
    assert text == format_relative_time(NOW - timedelta(seconds=seconds), NOW)


def test_control_codes_of_terminals_are_removed() -> None:
    assert "a b �[2J c" == to_printable_line("a\nb \x1b[2J\tc")
    assert "�" == to_printable_line("\x9b")


def test_values_are_shortened_to_one_line() -> None:
    assert '{"a":1}' == format_short_json({"a": 1})
    assert "x" * 9 + "…" == format_short_json("x" * 50, 10)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, ""),
        ({"type": "ValueError", "message": "bad\nvalue"}, "ValueError: bad value"),
        ({"type": "PermanentError", "message": "no card"}, "no card"),
        ({"type": "PermanentError", "message": "", "code": "X"}, "X"),
        ({"message": "1 step failed"}, "1 step failed"),
        ({"type": "KeyError", "message": ""}, "KeyError"),
    ],
)
def test_errors_are_shown_in_one_line(error: dict[str, object] | None, line: str) -> None:
    assert line == format_error_line(error)


def test_tables_in_files_have_full_cells_and_no_trailing_blanks() -> None:
    file = io.StringIO()
    table = Table(box=None, show_header=False)
    table.add_row("a" * 500, "b")
    table.add_row("short", "")
    print_table(make_console(file=file), table)

    lines = file.getvalue().splitlines()
    assert "a" * 500 in lines[0]
    assert [line.rstrip() for line in lines] == lines


@pytest.mark.parametrize("control", ["\x1b]0;x\x07", "\x1b[2J", "\x9b2J", "\u202e", "\x7f"])
def test_a_console_prints_no_control_characters_of_data(control: str) -> None:
    """An error message could otherwise change the terminal of whoever reads it."""
    file = io.StringIO()
    console = make_console(file=file)
    table = Table()
    table.add_column(control)
    table.add_row(Text(f"row {control}", style="red"))

    console.print(
        format_blocking_reason(Reason(code="failed", blocking=True, text=f"failed: {control}\n"))
    )
    console.print(f"plain\t{control}")
    print_table(console, table)

    printed = file.getvalue()
    assert all(char.isprintable() or char in "\n\t" for char in printed)
    assert printed.startswith("failed: \N{REPLACEMENT CHARACTER}")


def test_a_console_for_terminals_keeps_its_own_styles() -> None:
    file = io.StringIO()
    console = make_console(file=file)
    terminal = Console(file=file, force_terminal=True, color_system="standard")
    for hook in console._render_hooks:
        terminal.push_render_hook(hook)

    terminal.print(Text("\x1b[2J", style="red"), end="")

    assert "\x1b[31m\N{REPLACEMENT CHARACTER}[2J\x1b[0m" == file.getvalue()


def test_documents_escape_what_terminals_interpret(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_document({"é": "\x1b\x9b\u202e\x7f"})

    printed = capsys.readouterr().out
    assert '{\n  "é": "\\u001b\\u009b\\u202e\\u007f"\n}\n' == printed
