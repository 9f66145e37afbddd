"""Checks whether the server is ready for requests."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from tasker.api.problems import Problem
from tasker.api.views.system import ReadinessCheckView, ReadinessView
from tasker.errors import TaskerError
from tasker.model import SchemaStatus
from tasker.store.protocol import Store

_TIMEOUT = 2.0  #: seconds that a check may take
_CACHE_SECONDS = 1.0  #: seconds for which results are cached


class ReadinessChecker:
    """Checks whether the server can serve requests.

    Args:
        store: The store to check.
    """

    def __init__(self, store: Store) -> None:
        self.stopping = False  #: the server is draining or shutting down
        self._store = store
        self._checking = asyncio.Lock()
        self._checked = 0.0
        self._results: dict[str, ReadinessCheckView] = {}

    async def require_ready(self) -> ReadinessView:
        """Return the results of all checks if all of them passed.

        Raises:
            Problem: `not_ready`; its `failed_checks` names the checks that failed.
        """
        async with self._checking:
            if not self._results or time.monotonic() - self._checked > _CACHE_SECONDS:
                self._results = await self._run_checks()
                self._checked = time.monotonic()
        checks = dict(self._results)
        if self.stopping:
            checks["server"] = _failed_check_view("the server is shutting down", 0)
        failed = [name for name, check in checks.items() if check["status"] != "healthy"]
        if failed:
            raise Problem(
                "not_ready",
                f"Not ready: {', '.join(failed)}.",
                ready=False,
                checks=checks,
                failed_checks=failed,
            )
        return {
            "status": "ready",
            "ready": True,
            "timestamp": datetime.now(UTC),
            "checks": checks,
            "failed_checks": [],
        }

    async def _run_checks(self) -> dict[str, ReadinessCheckView]:
        schema: SchemaStatus | None = None

        async def find_connection_problem() -> str:
            nonlocal schema
            schema = await self._store.schema_status()
            return ""

        async def find_schema_problem() -> str:
            if schema is None:
                return "unknown: the store cannot be reached"
            if not schema.known:
                return "the schema was created by another development version of Tasker"
            if schema.is_ready:
                return ""
            return f"the schema is at version {schema.current}, not {schema.wanted}"

        return {
            "store": await _run_check(find_connection_problem),
            "schema": await _run_check(find_schema_problem),
        }


async def _run_check(check: Callable[[], Coroutine[Any, Any, str]]) -> ReadinessCheckView:
    """Run a check, which returns an error message or, if it passed, an empty string."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT):
            wrong = await check()
    except (TaskerError, TimeoutError):  # its message may contain addresses
        wrong = "it cannot be reached"
    took = round((time.perf_counter() - began) * 1000, 3)
    return _failed_check_view(wrong, took) if wrong else {"status": "healthy", "duration_ms": took}


def _failed_check_view(why: str, took: float) -> ReadinessCheckView:
    return {"status": "unhealthy", "duration_ms": took, "message": why}
