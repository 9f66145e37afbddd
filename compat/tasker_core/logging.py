"""Log messages with fields."""

import logging
from typing import Any

from pydantic import BaseModel

_log = logging.getLogger("tasker_core.app")
_TRACE = 5


class LogContext(BaseModel):
    """Fields that tell where a message comes from."""

    correlation_id: str | None = None
    task_uuid: str | None = None
    step_uuid: str | None = None
    namespace: str | None = None
    operation: str | None = None


def _write(level: int, message: str, fields: dict[str, Any] | LogContext | None) -> None:
    if isinstance(fields, LogContext):
        fields = fields.model_dump(exclude_none=True)
    texts = {key: str(value) for key, value in (fields or {}).items()}
    shown = "".join(f" {key}={value}" for key, value in texts.items())
    _log.log(level, "%s%s", message, shown, extra={"fields": texts})


def log_error(message: str, fields: dict[str, Any] | LogContext | None = None) -> None:
    """Log an error."""
    _write(logging.ERROR, message, fields)


def log_warn(message: str, fields: dict[str, Any] | LogContext | None = None) -> None:
    """Log a warning."""
    _write(logging.WARNING, message, fields)


def log_info(message: str, fields: dict[str, Any] | LogContext | None = None) -> None:
    """Log a message."""
    _write(logging.INFO, message, fields)


def log_debug(message: str, fields: dict[str, Any] | LogContext | None = None) -> None:
    """Log a message for debugging."""
    _write(logging.DEBUG, message, fields)


def log_trace(message: str, fields: dict[str, Any] | LogContext | None = None) -> None:
    """Log a message below the level of debugging."""
    _write(_TRACE, message, fields)
