"""Reads the environment and the configuration file of an application."""

import json
import logging
import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from tasker_core.exceptions import WorkerBootstrapError

log = logging.getLogger("tasker_core")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_USED = {
    ("common", "database"): {"url"},
    ("worker", "orchestration_client"): {"base_url"},
    ("worker",): {"max_concurrent_handlers"},
}
"""The settings that have a meaning here."""

SERVER_VARIABLES = ("TASKER_URL", "TASKER_ORCHESTRATION_URL", "ORCHESTRATION_URL")


def environment() -> str:
    """Return the name of the environment: `TASKER_ENV`, else `development`."""
    return os.environ.get("TASKER_ENV") or "development"


def expand(text: str) -> str:
    """Replace `${NAME}` and `${NAME:-default}` in TOML; without both, the text stays."""

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1]) or (match[0] if match[2] is None else match[2])
        return json.dumps(value, ensure_ascii=False)[1:-1]  # within the quotes of a string

    return _VARIABLE.sub(value_of, text)


@cache
def _read_file(path: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(expand(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise WorkerBootstrapError(f"TASKER_CONFIG_PATH: {path}: {error.strerror}") from None
    except (ValueError, tomllib.TOMLDecodeError) as error:
        raise WorkerBootstrapError(f"TASKER_CONFIG_PATH: {path} is not TOML: {error}") from None
    if unused := sorted(_unused(data)):
        log.info("%s: these settings have no meaning here: %s", path, ", ".join(unused))
    return data


def _unused(data: dict[str, Any], place: tuple[str, ...] = ()) -> set[str]:
    names: set[str] = set()
    for key, value in data.items():
        path = (*place, key)
        if isinstance(value, dict) and any(used[: len(path)] == path for used in _USED):
            names |= _unused(value, path)
        elif key not in _USED.get(place, ()):
            names.add(".".join(path))
    return names


def setting(*path: str) -> Any:
    """Return a setting of the file that `TASKER_CONFIG_PATH` names, or None."""
    file = os.environ.get("TASKER_CONFIG_PATH")
    value: Any = _read_file(file) if file else {}
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def database_url() -> str | None:
    """Return the URL of the store: `DATABASE_URL`, else that of the file, else None."""
    given = os.environ.get("DATABASE_URL") or setting("common", "database", "url")
    return given if isinstance(given, str) and given and "${" not in given else None


def server_url() -> str | None:
    """Return the URL of a Tasker server, or None."""
    named = (os.environ.get(name) for name in SERVER_VARIABLES)
    given = next((url for url in named if url), None)
    given = given or setting("worker", "orchestration_client", "base_url")
    return given if isinstance(given, str) and "${" not in given else None


def concurrency() -> int:
    """Return how many handlers run at once: `worker.max_concurrent_handlers`, else 10."""
    given = setting("worker", "max_concurrent_handlers")
    return given if isinstance(given, int) and given > 0 else 10
