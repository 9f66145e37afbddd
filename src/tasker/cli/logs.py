"""Log records on stderr: for people, or a JSON object per line."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TextIO

from tasker.cli.style import clean
from tasker.engine.logs import AttemptFilter

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET = re.compile(r"passw|secret|token|api_?key|authorization|credential", re.IGNORECASE)
_IN_URL = re.compile(r"(\w+://[^\s/:@]*):[^\s/@]+@")
_HIDDEN = "***"
_CHATTY = ("asyncio", "httpx", "httpcore", "watchfiles")  #: quiet below their warnings
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "DEBUG": "2"}


def set_up(level: int, *, as_json: bool, colours: bool) -> None:
    """Write records of all loggers, from `level` up, to stderr.

    Args:
        level: Of the `logging` module.
        as_json: For programs rather than for people.
        colours: Whether levels are coloured.
    """
    handler = _ToStderr()
    handler.setFormatter(ForPrograms() if as_json else ForPeople(colours))
    handler.addFilter(AttemptFilter())  # a handler's own records tell their attempt
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at the time: a live display takes it over."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # it is looked up anew each time
        return sys.stderr


class ForPeople(logging.Formatter):
    """`10:31:07 WARNING lease_lost  worker=a held=3`, and a stack trace below."""

    def __init__(self, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = f"{record.levelname:7}"
        if self._colours and record.levelname in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelname]}m{level}\x1b[0m"
        facts = " ".join(f"{name}={_plain(value)}" for name, value in facts_of(record).items())
        line = f"{at} {level} {_hidden(record.getMessage())}"
        line = f"{line}  {facts}" if facts else line
        trace = self._trace(record)
        return f"{line}\n{trace}" if trace else line

    def _trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class ForPrograms(logging.Formatter):
    """One JSON object: `at`, `level`, `logger`, `event`, the facts, `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone()
        document: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _hidden(record.getMessage()),
        }
        for name, value in facts_of(record).items():
            document[name if name not in document else f"{name}_"] = value
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str, ensure_ascii=False)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Tell what a record was given as `extra`, without secrets."""
    return {
        name: _safe(name, value) for name, value in vars(record).items() if name not in _STANDARD
    }


def _safe(name: str, value: Any) -> Any:
    if _SECRET.search(name):
        return _HIDDEN
    if isinstance(value, str):
        return _hidden(_error(value) if name == "error" else value)
    if isinstance(value, Mapping):
        return {key: _safe(str(key), inner) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return str(value)
    return value


def _hidden(text: str) -> str:
    """Write a text without the passwords of URLs in it."""
    return _IN_URL.sub(rf"\1:{_HIDDEN}@", text)


def _error(text: str) -> str:
    """Write an error as its type and message, where it is one as stores keep it."""
    if not text.startswith("{"):
        return text
    try:
        stored = json.loads(text)
        return f"{stored['type']}: {stored['message']}"
    except (ValueError, KeyError, TypeError):
        return text


def _plain(value: Any) -> str:
    text = clean(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[\s"=]', text) or not text else text
