"""Log records on stderr: for people, or one JSON object per line."""

import json
import logging
import re
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from tasker.cli.render.style import to_printable_line
from tasker.engine.logs import AttemptLogFilter, redact_extra_fields
from tasker.redact import redact_passwords

_CHATTY = ("asyncio", "httpx", "httpcore", "watchfiles")  #: only warnings are written
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "DEBUG": "2"}
_QUOTED = re.compile(r'[\s"=]')  #: characters for which a value is quoted
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z | orjson.OPT_PASSTHROUGH_DATACLASS


def set_up_logging(
    level: int, *, as_json: bool, colours: bool, hidden: Collection[str] = ()
) -> None:
    """Write the records of all loggers to stderr.

    Args:
        level: The lowest level written, as in the module `logging`.
        as_json: Whether each record is a JSON object.
        colours: Whether levels are coloured.
        hidden: Events that are not written.
    """
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if as_json else ConsoleFormatter(colours))
    handler.addFilter(AttemptLogFilter())  # adds the attempt to records of handlers
    handler.addFilter(lambda record: record.msg not in hidden)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, which a live display may replace."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # looked up for each record
        return sys.stderr


class ConsoleFormatter(logging.Formatter):
    """Writes `10:31:07 WARNING lease_lost  worker=a held=3`, and a stack trace below."""

    def __init__(self, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = f"{record.levelname:7}"
        if self._colours and record.levelname in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelname]}m{level}\x1b[0m"
        fields = " ".join(
            f"{name}={_format_field_value(value)}"
            for name, value in redact_extra_fields(record).items()
        )
        line = f"{at} {level} {redact_passwords(record.getMessage())}"
        line = f"{line}  {fields}" if fields else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """Writes one JSON object: `at`, `level`, `logger`, `event`, the fields, `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact_passwords(record.getMessage()),
        }
        for name, value in redact_extra_fields(record).items():
            document[name if name not in document else f"{name}_"] = value
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(document, default=str, option=_OPTIONS).decode()
        except orjson.JSONEncodeError:  # an unpaired surrogate, a 65-bit integer, a cycle
            return json.dumps(document, default=str, skipkeys=True)


def _format_field_value(value: Any) -> str:
    text = to_printable_line(value)
    return json.dumps(text, ensure_ascii=False) if _QUOTED.search(text) or not text else text
