"""Log records: the attempt that they belong to, and their fields."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tasker.redact import MASK, redact

if TYPE_CHECKING:
    from tasker.engine.running import Running

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_HARMLESS = frozenset({bool, int, float, type(None)})
_SECRET = re.compile(r"passw|secret|token|api_?key|authorization|credential", re.IGNORECASE)

current_attempt: ContextVar["Running | None"] = ContextVar("tasker_attempt", default=None)
"""The attempt that the present code runs for: log records and spans are named after it."""


class AttemptFilter(logging.Filter):
    """Adds `task_id`, `template`, `step`, `attempt` and `correlation_id` to log records.

    Put it on a log handler, where the records of all loggers pass, those of libraries too:
    `handler.addFilter(AttemptFilter())`. It lets everything through, and leaves alone
    records that are not of an attempt, and what a record has already. A worker does not
    do it by itself: how a program logs is the program's.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        running = current_attempt.get()
        if running is not None:
            for name, value in running.facts().items():
                record.__dict__.setdefault(name, value)
        return True


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record was given as `extra`, without secrets."""
    fields: dict[str, Any] = {}
    for name, value in vars(record).items():  # runs for every record: most values pass as they are
        if name in _STANDARD:
            continue
        if _is_secret(name):
            fields[name] = MASK
        elif type(value) in _HARMLESS or (
            type(value) is str and name != "error" and "://" not in value
        ):
            fields[name] = value
        else:
            fields[name] = _safe(name, value)
    return fields


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Whether a field's name says that its value is secret."""
    return _SECRET.search(name) is not None


def _safe(name: str, value: Any) -> Any:
    if _is_secret(name):
        return MASK
    if isinstance(value, str):
        return redact(_error(value) if name == "error" else value)
    if isinstance(value, Mapping):
        return {key: _safe(str(key), inner) for key, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return str(value)
    return value


def _error(text: str) -> str:
    """Return a stored error as its type and message; any other text as it is."""
    if not text.startswith("{"):
        return text
    try:
        stored = json.loads(text)
        return f"{stored['type']}: {stored['message']}"
    except (ValueError, KeyError, TypeError):
        return text


class FallbackHandler(logging.Handler):
    """Writes warnings with their facts to stderr in programs that have not configured logging.

    Python's own fallback writes the event's name alone.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:
            return
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        print(f"tasker: {redact(record.getMessage())} {fields}", file=sys.stderr)


logging.getLogger("tasker").addHandler(FallbackHandler())
