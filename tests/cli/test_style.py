"""How states, times and values look."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.table import Table

from tasker.cli.render.style import (
    LOOKS,
    OUTCOMES,
    console_for,
    error_line,
    one_line,
    outcome_text,
    print_table,
    short_json,
    status_text,
    time_ago,
)
from tasker.model import AttemptOutcome, StepStatus, TaskStatus

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
    assert text == time_ago(NOW - timedelta(seconds=seconds), NOW)


def test_control_codes_of_terminals_are_removed() -> None:
    assert "a b �[2J c" == one_line("a\nb \x1b[2J\tc")
    assert "�" == one_line("\x9b")


def test_values_are_shortened_to_one_line() -> None:
    assert '{"a":1}' == short_json({"a": 1})
    assert "x" * 9 + "…" == short_json("x" * 50, 10)


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
    assert line == error_line(error)


def test_tables_in_files_have_full_cells_and_no_trailing_blanks() -> None:
    file = io.StringIO()
    table = Table(box=None, show_header=False)
    table.add_row("a" * 500, "b")
    table.add_row("short", "")
    print_table(console_for(file=file), table)

    lines = file.getvalue().splitlines()
    assert "a" * 500 in lines[0]
    assert [line.rstrip() for line in lines] == lines
