"""The log and output of handlers: records that are stored with their attempts."""

import logging
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tasker import codec
from tasker.codec import UNSTORABLE
from tasker.errors import InvalidInput
from tasker.limits import LOG_CHARACTERS, LOG_FIELDS_BYTES, LOG_RECORDS
from tasker.model import JsonText, TaskId

LEVELS = {
    name: logging.getLevelNamesMapping()[name.upper()]
    for name in ("debug", "info", "warning", "error", "critical")
}
"""The numeric log levels by lower-case name; the numbers are those of Python's `logging`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"[0-9]{1,16}(-[0-9]{1,9}){3}", re.ASCII)
_LONGEST_SOURCE = 200
_CUT = " [...]"


class NewLogRecord(NamedTuple):
    """A record to store."""

    task_id: TaskId
    no: int  #: of the step
    attempt: int
    number: int
    """Number of the record within its attempt, starting at 0. A second record with the same
    number is ignored."""

    at: float  #: seconds since 1970, by the clock of the worker
    level: int  #: as in Python's `logging`
    source: str  #: name of the logger, or `stdout` or `stderr`
    message: str
    fields: JsonText | None = None  #: a JSON object


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A record of what a handler logged or printed."""

    task_id: TaskId
    no: int
    step: str | None
    """Name of the step. The name of an instance includes its number."""

    attempt: int
    number: int
    """Number of the record within its attempt, starting at 0."""

    at: datetime
    """Time of the record by the worker's clock."""

    level: str
    """The level: `debug`, `info`, `warning`, `error` or `critical`."""

    source: str
    """Name of the logger, or `stdout` or `stderr`."""

    message: str
    fields: Mapping[str, Any]

    @property
    def position(self) -> "LogPosition":
        """The position of the record among those of its task."""
        return LogPosition(self.at, self.no, self.attempt, self.number)


class LogPosition(NamedTuple):
    """The position of a record among those of its task."""

    at: datetime
    no: int
    attempt: int
    number: int

    @property
    def cursor(self) -> str:
        """The position as an opaque string."""
        micros = (self.at - _EPOCH) // timedelta(microseconds=1)
        return f"{micros}-{self.no}-{self.attempt}-{self.number}"

    @classmethod
    def from_cursor(cls, cursor: str) -> "LogPosition":
        """Return the position of a `cursor`. Raises InvalidInput."""
        if not _CURSOR.fullmatch(cursor):
            raise InvalidInput("must be the `next_cursor` of a page of logs", path="$.cursor")
        micros, *rest = map(int, cursor.split("-"))
        return cls(_EPOCH + timedelta(microseconds=micros), *rest)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of the log records of a task."""

    records: tuple[LogRecord, ...]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last page."""

    link: str | None = None
    """URL of the same logs in the team's own log store, if the server's setting `log_url` is set.
    """


class LogFilter(NamedTuple):
    """Filters of a task's log records; None: all records."""

    no: int | None = None
    attempt: int | None = None
    level: int | None = None  #: the lowest
    text: str | None = None  #: part of the message; ASCII letters match in either case
    since: datetime | None = None


EVERY_RECORD = LogFilter()


def format_log_message(message: object, args: Any, exc_info: Any = None) -> str:
    """Return the text of a logged message, with the traceback of its exception."""
    try:
        text = str(message)
        text = text % args if args else text
    except Exception as error:  # of a format that does not match, or the value's own code
        kind, fault = type(message).__name__, type(error).__name__
        text = f"a log message of type {kind} could not be formatted: {fault}"
    if not exc_info:
        return text
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    elif not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    lines = traceback.format_exception(*exc_info) if exc_info[1] is not None else ()
    return "\n".join((text, "".join(lines).rstrip())) if lines else text


def log_level_number(name: str) -> int:
    """Return the number of a level. Raises InvalidInput."""
    try:
        return LEVELS[name]
    except KeyError:
        raise InvalidInput(
            f"must be one of {', '.join(LEVELS)}, not {name!r}", path="$.level"
        ) from None


def log_level_name(number: int) -> str:
    """Return the name of the highest level that is not above `number`."""
    names = [name for name, level in LEVELS.items() if level <= number]
    return names[-1] if names else "debug"


def encode_log_fields(fields: Mapping[str, Any]) -> JsonText | None:
    """Return fields as JSON; None if there are no fields, they have no JSON form, or they are too
    large.

    Values without a JSON form become text.
    """
    if not fields:
        return None
    try:
        text = codec.dumps({name: _to_json_value(value) for name, value in fields.items()})
    except Exception:  # of the value's own code
        return None
    return text if len(text) <= LOG_FIELDS_BYTES else None


def _to_json_value(value: Any) -> Any:
    try:
        codec.dumps(value)
    except Exception:
        return str(value)
    return value


def trim_log_records(records: Iterable[NewLogRecord]) -> list[NewLogRecord]:
    """Return records within the limits: long messages are truncated, later records omitted."""
    return [
        record._replace(
            at=round(record.at, 6),  # as instants are read
            level=max(0, min(record.level, 1000)),
            source=_clean_and_truncate(record.source, _LONGEST_SOURCE),
            message=_clean_and_truncate(record.message, LOG_CHARACTERS),
            fields=None
            if record.fields is None
            or len(record.fields) > LOG_FIELDS_BYTES
            or UNSTORABLE.search(record.fields)
            else record.fields,
        )
        for record in records
        if 0 <= record.number <= LOG_RECORDS
    ]


def _clean_and_truncate(text: str, most: int) -> str:
    text = UNSTORABLE.sub("", text)
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT
