"""Exit codes and error messages of commands."""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tasker.errors import (
    DocumentProblem,
    InvalidPolicy,
    InvalidTemplate,
    Misuse,
    NotFound,
    Rejected,
    ServerUnavailable,
    StoreError,
    StoreUnavailable,
    TaskerError,
    TaskFailed,
    Unauthenticated,
    WaitTimeout,
)


class ExitCode(IntEnum):
    """The exit codes. Scripts rely on them."""

    DONE = 0
    FAILED = 1  #: the task failed or was cancelled; `check` found problems
    USAGE = 2  #: an invalid flag, file, template or context, or something named was not found
    STORE = (
        3  #: the store or the server cannot be reached, or its schema belongs to another release
    )
    TIMEOUT = 4  #: the task did not end in time; it continues
    REJECTED = 5  #: rejected because of stored data: wrong status, version or key in use
    BUG = 70
    INTERRUPTED = 130  #: by SIGINT
    TERMINATED = 143  #: by SIGTERM


class StoreFileMissing(TaskerError):
    """The SQLite file of a store does not exist."""

    code = "no_store"


_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (TaskFailed, ExitCode.FAILED),
    (WaitTimeout, ExitCode.TIMEOUT),
    (NotFound, ExitCode.USAGE),
    (Misuse, ExitCode.USAGE),
    (Rejected, ExitCode.REJECTED),
    (StoreError, ExitCode.STORE),
    (StoreFileMissing, ExitCode.STORE),
    (TaskerError, ExitCode.FAILED),
)


def exit_code_for(error: BaseException) -> ExitCode:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.BUG)


@contextmanager
def print_errors_and_exit(console: Console) -> Iterator[None]:
    """Print an error raised in the block on `console`, and exit with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:
        _discard_stdout()
        raise typer.Exit(ExitCode.FAILED) from None
    except TaskerError as error:
        print_error(console, error)
        raise typer.Exit(exit_code_for(error)) from None
    except ExceptionGroup as group:
        first = _most_relevant_error(group)
        print_error(console, first)
        raise typer.Exit(exit_code_for(first)) from None
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except Exception as error:
        print_error(console, error)
        raise typer.Exit(ExitCode.BUG) from None


def _most_relevant_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first of several errors, preferring Tasker's own."""
    ours = group.subgroup(TaskerError)
    error: BaseException = ours if ours is not None else group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def print_error(console: Console, error: BaseException) -> None:
    """Print an error; TASKER_DEBUG=1 adds its stack trace."""
    if os.environ.get("TASKER_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    if not isinstance(error, TaskerError):
        print_message(console, _bug_report_text(error), title="Unexpected error")
    elif isinstance(error, InvalidTemplate | InvalidPolicy):
        print_problems(console, error.problems)
    elif isinstance(error, Unauthenticated):
        print_message(console, f"{error} {_CREDENTIALS}")
    elif isinstance(error, ServerUnavailable):
        print_message(console, f"the server {error}")
    elif isinstance(error, StoreUnavailable):
        print_message(console, f"the store cannot be reached: {error}")
    else:
        print_message(console, str(error))


_CREDENTIALS = "Set TASKER_API_KEY to a valid API key, or TASKER_TOKEN to a valid token."


def _bug_report_text(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return (
        f"{type(error).__name__}: {error}{where}\n"
        "This is a bug in Tasker or in your code; TASKER_DEBUG=1 shows the stack trace."
    )


def print_message(console: Console, message: str, *, title: str = "Error") -> None:
    """Print a message: in a frame on a terminal, otherwise on one line."""
    if not console.is_terminal:
        console.print(f"{title.lower()}: {message}", soft_wrap=True)
        return

    console.print(
        Panel(Text(message), title=title, title_align="left", border_style="red", highlight=False)
    )


def print_problems(
    console: Console,
    problems: Sequence[DocumentProblem],
    *,
    of: str = "",
    kind: str = "error",
    style: str = "bold red",
) -> None:
    """Print problems of templates and handlers, with the lines concerned.

    Args:
        console: The console to print on.
        problems: The problems.
        of: The template concerned, unless the problems name it.
        kind: The word for a problem in the heading.
        style: The style of the heading.
    """
    for problem in problems:
        parts = (relative_path(problem.file) if problem.file else "", problem.line, problem.column)
        place = ":".join(str(part) for part in parts if part)
        line = Text(f"{kind}: ", style=style)
        if place:
            line.append(f"{place}: ", style="bold")
        line.append(problem.message, style="none")
        if about := " ".join(part for part in (of, problem.path) if part):
            line.append(f" ({'' if of else 'at '}{about})", style="dim")
        console.print(line, soft_wrap=True)
        if console.is_terminal:
            _print_source_line(console, problem, style)


def _print_source_line(console: Console, problem: DocumentProblem, style: str) -> None:
    """Show the line of a file in which a problem is, with a mark at its column."""
    if not problem.file or problem.line is None:
        return
    try:
        source = Path(problem.file).read_text("utf-8", "replace").splitlines()[problem.line - 1]
    except (OSError, IndexError):
        return
    source = source.replace("\t", " ")[:200].rstrip()
    number = f"{problem.line:>6} │ "
    console.print(Text(number, style="dim").append(source, style="none"), soft_wrap=True)
    if problem.column is not None and problem.column <= len(source):
        gap = " " * (len(number) - 2) + "│ " + " " * (problem.column - 1)
        console.print(Text(gap, style="dim").append("^", style=style), soft_wrap=True)


def relative_path(file: str) -> str:
    """Return a path relative to the current directory, if it is below that."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _discard_stdout() -> None:
    """Suppress the interpreter's message about a closed pipe at exit."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
