"""Workers that claim and settle in groups until all is done, or until their process dies.

    python -m tests.crash.grouping

reads JSON arrays, a line each: STORE_URL, EFFECTS_FILE, BOUNDARIES_FILE and, for a death, BOUNDARY
and OCCURRENCE (see `tests.crash.boundaries`). For each it forks a process, which takes less time
than to start one, and prints its exit code.

A server groups what arrives at the same time. Here the groups are the same in every run.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.crash.boundaries import Boundary, Pass, recorder, watch_postgres, watch_sqlite
from tests.crash.fleet import DIAMOND

from tasker import LocalClient, TaskRequest, open_store
from tasker.model import (
    Claim,
    JsonText,
    NewEvent,
    Outcome,
    Settlement,
    Task,
    TemplateId,
    WorkerId,
    completed_outcome,
    retry_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import ERROR, ManualWorker

GROUPED = replace(
    DIAMOND, steps=tuple(replace(each, callable="quick") for each in DIAMOND.steps)
)  # of several queues, a claim draws one at random
TASKS = [TaskRequest(template="crash.diamond", idempotency_key=f"{no}") for no in range(4)]
_WORKERS, _ROOM = 3, 2
_LEASE = timedelta(hours=1)


async def create(client: LocalClient) -> tuple[TemplateId, list[Task]]:
    """Create the template and its tasks, or find them where they exist."""
    registered = await client.register(GROUPED)
    return registered.stored.id, await client.create_tasks(TASKS)


async def work(
    store: Store, template: TemplateId, workers: Sequence[WorkerId], effects: Path
) -> None:
    """Claim, and settle what was claimed and what that freed, until nothing is due."""
    descriptor = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(worker: WorkerId, claims: Sequence[Claim]) -> Settlement:
        """Complete each step, and `right` with its second attempt."""
        outcomes: list[Outcome] = []
        events: list[NewEvent] = []
        for index, claim in enumerate(claims):
            step = GROUPED.steps[claim.no - 1].name
            os.write(descriptor, f"{claim.task_id} {step} {claim.attempt}\n".encode())
            fails = step == "right" and claim.attempt == 1
            outcomes.append(
                retry_outcome(claim, ERROR, timedelta(0))
                if fails
                else completed_outcome(claim, JsonText("1"))
            )
            payload = JsonText('{"ok":false}' if fails else '{"ok":true}')
            events.append(NewEvent(index, template, step, "c-1", "attempt.ended", payload, None))
        return Settlement(worker, outcomes, _ROOM, events)

    rooms = dict.fromkeys(workers, _ROOM)
    held: Mapping[WorkerId, Sequence[Claim]] = {}
    while held := held or (await store.claim_for_workers(rooms)).claims:
        settlements = [run(worker, claims) for worker, claims in held.items()]
        settled = await store.settle_for_workers(settlements)
        freed = zip(settlements, settled, strict=True)
        held = {settlement.worker: each.claims for settlement, each in freed if each.claims}


async def main(url: str, effects: Path, boundaries: Path, at: Boundary | None, no: int) -> None:
    observers: list[Pass] = []

    def passed(boundary: Boundary) -> None:
        for observe in observers:
            observe(boundary)

    (watch_sqlite if url.startswith("sqlite") else watch_postgres)(passed)
    async with open_store(url) as store:
        template, _ = await create(LocalClient(store))
        workers = [
            (await ManualWorker.register(store, f"worker {one}", lease=_LEASE)).id
            for one in range(_WORKERS)
        ]
        observers.append(recorder(boundaries, at, no))
        await work(store, template, workers, effects)
        observers.clear()


def fork(url: str, effects: str, boundaries: str, at: str = "", no: int = 0) -> int:
    """Run `main` in a forked process, and return its exit code."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    boundary = Boundary(*at.split(" ", 1)) if at else None
    asyncio.run(main(url, Path(effects), Path(boundaries), boundary, no))
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(fork(*json.loads(line)), flush=True)
