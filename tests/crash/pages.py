"""A process that acts on a task of many steps and dies between two pages of the action.

    python -m tests.crash.pages STORE_URL ACTION TASK_ID COMMIT

kills itself with SIGKILL after as many commits of the action.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from tests.crash.boundaries import Boundary, Pass, watch_postgres, watch_sqlite

from tasker import open_store
from tasker.model import PauseTarget, TaskId
from tasker.store.operations import pausing, retrying, stopping
from tasker.store.protocol import AuditNote, Store

ACT = AuditNote(actor="ana", reason="because")
ACTIONS: dict[str, Callable[[Store, TaskId], Awaitable[object]]] = {
    "retry": lambda store, task_id: store.retry_steps(task_id, ACT),
    "cancel": lambda store, task_id: store.cancel_task(task_id, ACT),
    "pause": lambda store, task_id: store.pause(PauseTarget.of_task(task_id), ACT),
    "resume": lambda store, task_id: store.resume(PauseTarget.of_task(task_id), ACT),
}


def killer(commits: int) -> tuple[Pass, Callable[[], None]]:
    """Return a function that ends the process after some commits, and one that starts counting."""
    left = 0

    def start() -> None:
        nonlocal left
        left = commits

    def passed(boundary: Boundary) -> None:
        nonlocal left
        if boundary.side == "after" and boundary.statement.lower().startswith("commit"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return passed, start


async def main(url: str, action: str, task_id: TaskId, commits: int) -> None:
    for module in (pausing, retrying, stopping):
        module.PAGE = 2  # type: ignore[attr-defined]
    passed, start = killer(commits)
    (watch_sqlite if url.startswith("sqlite") else watch_postgres)(passed)
    async with open_store(url) as store:
        start()
        await ACTIONS[action](store, task_id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], TaskId(sys.argv[3]), int(sys.argv[4])))
