"""Renders tasks, templates and workers as tables."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tasker.cli.render.style import (
    format_error_line,
    format_relative_time,
    format_short_json,
    is_ascii_only,
    status_text,
    to_printable_line,
)
from tasker.durations import human_duration
from tasker.model import StoredTemplate, Task, WorkerInfo

_WIDE = 112  #: width of a terminal from which whole ids are shown
_ERROR, _TITLE, _TAGS = 6, 7, 8  #: columns of task tables that are omitted where empty
_BEGINNING = 18  #: characters of an id that identify it


class TruncatingTable(Table):
    """A table whose flexible columns are truncated if it is wider than the terminal."""

    def __init__(self, flexible: Collection[int]) -> None:
        super().__init__(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        self._flexible = flexible

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(
            *(
                _shorten_cell(cell) if at in self._flexible else cell
                for at, cell in enumerate(cells)
            ),
            **options,
        )


def is_narrow_terminal(console: Console) -> bool:
    return console.is_terminal and console.width < _WIDE


def _shorten_cell(cell: RenderableType | None) -> RenderableType | None:
    if isinstance(cell, str):
        cell = Text(cell)
    if isinstance(cell, Text):
        cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


def make_table(
    *columns: str, right: Collection[str] = (), flexible: Collection[str] | None = None
) -> TruncatingTable:
    """Create an empty table.

    Args:
        columns: The names of the columns.
        right: Right-aligned columns.
        flexible: Columns to truncate if the terminal is too narrow; None means the last.
    """
    cut = [at for at, name in enumerate(columns) if name in (flexible or ())]
    cut = [len(columns) - 1] if flexible is None else cut
    rows = TruncatingTable(cut)
    for at, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if name in right else "left"
        rows.add_column(
            name,
            justify=justify,
            no_wrap=at not in cut,  # columns that may wrap are narrowed first
            min_width=12 if at in cut and name else None,
            overflow="ellipsis",
        )
    return rows


def tasks_table(console: Console, tasks: Sequence[Task]) -> Table:
    plain, now = is_ascii_only(console), datetime.now(UTC)
    narrow = is_narrow_terminal(console)
    rows = make_table(
        "id", "template", "status", "steps", "created", "took", "error", "title", "tags",
        right=("steps",), flexible=("template", "error", "title", "tags"),
    )  # fmt: skip
    for task in tasks:
        rows.add_row(
            Text(task.id[:_BEGINNING] if narrow else task.id),
            Text(str(task.template)),
            status_text(task.status.value, plain=plain),
            f"{task.counts.done}/{task.counts.total}",
            Text(format_relative_time(task.created_at, now), style="dim"),
            human_duration((task.ended_at or now) - task.created_at),
            Text(format_error_line(task.error), style="red"),
            Text(to_printable_line(task.title or "")),
            Text(to_printable_line(", ".join(task.tags)), style="dim"),
        )
    for column, used in (
        (_TAGS, any(task.tags for task in tasks)),
        (_TITLE, any(task.title for task in tasks)),
        (_ERROR, any(task.error for task in tasks)),
    ):
        if not used:
            del rows.columns[column]
    return rows


def templates_table(stored: Sequence[StoredTemplate]) -> Table:
    rows = make_table("template", "version", "steps", "status", "registered", "by", "description",
                 right=("steps",))  # fmt: skip
    for one in stored:
        template = one.template
        rows.add_row(
            Text(f"{template.namespace}.{template.name}", style="bold"),
            template.version,
            str(len(template.steps)),
            one.status.value,
            Text(format_relative_time(one.registered_at), style="dim"),
            Text(to_printable_line(one.registered_by), style="dim"),
            Text(format_short_json(template.description, 60), style="dim"),
        )
    return rows


def workers_table(workers: Sequence[WorkerInfo]) -> Table:
    rows = make_table(
        *("id", "worker", "started", "running", "slots", "handlers"),
        right=("id", "running", "slots"),
    )
    for one in workers:
        rows.add_row(
            str(one.id),
            Text(to_printable_line(one.name), style="bold"),
            Text(format_relative_time(one.started_at), style="dim"),
            str(one.running),
            str(one.slots),
            Text(format_short_json(", ".join(one.handlers), 80), style="dim"),
        )
    return rows
