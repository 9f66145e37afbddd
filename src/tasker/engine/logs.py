"""Adds the attempt to log records and reads the fields of log records."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tasker.redact import MASK, redact_passwords

if TYPE_CHECKING:
    from tasker.engine.running import RunningAttempt

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_HARMLESS = frozenset({bool, int, float, type(None)})
_SECRET = re.compile(r"passw|secret|token|api_?key|authorization|credential", re.IGNORECASE)

current_attempt: ContextVar["RunningAttempt | None"] = ContextVar("tasker_attempt", default=None)
"""The attempt for which the current code runs; log records and spans refer to it."""


class AttemptLogFilter(logging.Filter):
    """Adds `task_id`, `template`, `step`, `attempt` and `correlation_id` to log records.

    Add it to a log handler, which sees the records of all loggers, including those of libraries:
    `handler.addFilter(AttemptLogFilter())`. It never drops a record, ignores records outside of an
    attempt, and never overwrites a field. Workers do not install it, because the program configures
    logging.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        running = current_attempt.get()
        if running is not None:
            for name, value in running.log_fields().items():
                record.__dict__.setdefault(name, value)
        return True


def redact_extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the `extra` fields of a record, without secrets."""
    return redact_log_fields(vars(record))


def redact_log_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of log records, except Python's own, without secrets."""
    fields: dict[str, Any] = {}
    for name, value in values.items():  # runs for every record; most values pass unchanged
        if name in _STANDARD:
            continue
        if _is_secret(name):
            fields[name] = MASK
        elif type(value) in _HARMLESS or (
            type(value) is str and name != "error" and "://" not in value
        ):
            fields[name] = value
        else:
            fields[name] = _hide_nested_secrets(name, value)
    return fields


def hide_secrets(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a log record received as JSON, without secrets."""
    return {name: _hide_nested_secrets(name, value) for name, value in fields.items()}


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    """Return whether a field's name indicates a secret value."""
    return _SECRET.search(name) is not None


def _hide_nested_secrets(name: str, value: Any) -> Any:
    if _is_secret(name):
        return MASK
    if isinstance(value, str):
        return redact_passwords(_summarize_error(value) if name == "error" else value)
    if isinstance(value, Mapping):
        return {key: _hide_nested_secrets(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hide_nested_secrets(name, inner) for inner in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return str(value)
    return value


def _summarize_error(text: str) -> str:
    """Return the type and message of a stored error; any other text is returned unchanged."""
    if not text.startswith("{"):
        return text
    try:
        stored = json.loads(text)
        return f"{stored['type']}: {stored['message']}"
    except (ValueError, KeyError, TypeError):
        return text


class FallbackLogHandler(logging.Handler):
    """Writes warnings with their fields to stderr in programs that have not configured logging.

    Python's own fallback writes only the event's name.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:
            return
        fields = "".join(f" {name}={value}" for name, value in redact_extra_fields(record).items())
        print(f"tasker: {redact_passwords(record.getMessage())} {fields}", file=sys.stderr)


logging.getLogger("tasker").addHandler(FallbackLogHandler())
