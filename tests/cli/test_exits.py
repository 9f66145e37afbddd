"""How commands end when something is wrong."""

import io
from pathlib import Path

import pytest
import typer
from rich.console import Console
from tests.cli.conftest import uncoded

from tasker.cli.exits import ExitCode, exit_code_for, print_errors_and_exit
from tasker.cli.render.style import make_console
from tasker.errors import (
    DocumentProblem,
    HandlerNotFound,
    IdempotencyConflict,
    InvalidInput,
    InvalidTemplate,
    NotFound,
    SchemaMismatch,
    StoreUnavailable,
    TaskRegistrationError,
    WaitTimeout,
    WrongStatus,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("x"), 2),
        (InvalidTemplate(), 2),
        (HandlerNotFound("x"), 2),
        (NotFound("x"), 2),
        (StoreUnavailable("x"), 3),
        (SchemaMismatch("x"), 3),
        (WaitTimeout("x"), 4),
        (WrongStatus("task", "complete", "cancel", ["pending"]), 5),
        (TaskRegistrationError("x"), 5),
        (IdempotencyConflict("x"), 5),
        (ValueError("x"), 70),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert code == exit_code_for(error)


def _printed(error: BaseException, *, terminal: bool = False) -> tuple[int, str]:
    file = io.StringIO()
    console = (
        Console(file=file, force_terminal=True, width=80, no_color=True)
        if terminal
        else make_console(file=file)
    )
    with pytest.raises(typer.Exit) as caught, print_errors_and_exit(console):
        raise error
    return caught.value.exit_code, uncoded(file.getvalue())


def test_an_error_is_one_line_without_a_terminal_and_framed_on_one() -> None:
    assert (2, "error: task 7 not found\n") == _printed(NotFound("task 7 not found"))
    code, text = _printed(NotFound("task 7 not found"), terminal=True)
    assert (2, True, True) == (code, "╭─ Error" in text, "task 7 not found" in text)


def test_an_exception_group_is_reported_by_its_tasker_error() -> None:
    inner = ExceptionGroup("inner", [ValueError("no"), NotFound("ours")])

    assert (2, "error: ours\n") == _printed(ExceptionGroup("outer", [KeyError("x"), inner]))


def test_a_defect_is_reported_in_two_lines_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TASKER_DEBUG", raising=False)
    code, text = _printed(ZeroDivisionError("by zero"))
    assert (70, 2) == (code, len(text.splitlines()))
    assert "ZeroDivisionError: by zero (" in text
    assert "" == capsys.readouterr().err

    monkeypatch.setenv("TASKER_DEBUG", "1")
    _printed(ZeroDivisionError("by zero"))
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_and_a_closed_pipe_print_nothing() -> None:
    assert (ExitCode.INTERRUPTED, "") == _printed(KeyboardInterrupt())


def test_problems_show_the_line_that_they_refer_to(tmp_path: Path) -> None:
    file = tmp_path / "sell.yaml"
    file.write_text("name: sell\nversion: one\n")
    problem = DocumentProblem("is not a version", path="version", file=str(file), line=2, column=10)
    code, text = _printed(InvalidTemplate(problem), terminal=True)

    assert 2 == code
    assert "is not a version (at version)" in text.replace("\n", "")
    lines = text.splitlines()
    shown = next(at for at, line in enumerate(lines) if "│ version: one" in line)
    assert lines[shown].index("one") == lines[shown + 1].index("^")
