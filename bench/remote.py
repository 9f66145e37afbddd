"""Remote workers: a server in a process of its own, and workers that send plain bytes.

The server is as `tasker server` runs it, with the guards and without API keys. Each worker has one
connection; it reports all steps of an answer as complete in its next settlement. A worker with 50
slots claims ahead, as the Python worker does: as many steps as it did in a tenth of a second, at
most as many as the server allows. It sends two settlements at a time, and claims beside them.

Idle workers have two connections each, as those of the SDKs: a claim and a renewal wait.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from bench import proc
from bench.api import register, server_cpu
from bench.databases import Database, Server, empty_database
from bench.fleet import Settings
from bench.http_client import Connection, RunningServer, connect, require_success, serving
from bench.rows import Percentiles, Row, median_row
from bench.workloads import CHAIN
from tasker import LocalClient, TaskRequest
from tasker.store.open import open_store

SHAPES = ((1, 50), (8, 5), (12, 2), (1, 1))
"""Workers, and slots of each."""


_CLAIMS_AHEAD = 50  #: slots of a worker that claims ahead
_AHEAD = 0.1  #: seconds of work that it claims ahead
IDLE = 1_000  #: idle workers
_WAIT = 25.0  #: seconds of a claim
_RENEWALS = 10.0  #: seconds between two renewals of a worker


def remote(workers: int, slots: int) -> Callable[[Settings, str, Server | None], Row]:
    """Return the measurement of chains that so many remote workers run."""
    return lambda settings, store, server: _remote(settings, store, server, workers, slots)


def workload(workers: int, slots: int) -> str:
    """Return the name of a measurement: `remote-8x5`."""
    return f"remote-{workers}x{slots}"


def _remote(settings: Settings, store: str, server: Server | None, workers: int, slots: int) -> Row:
    tasks = (500 if settings.quick else 3_000) // (4 if workers * slots == 1 else 1)
    if slots >= _CLAIMS_AHEAD:  # compared with a native worker: as many chains as it runs
        tasks = CHAIN.quick if settings.quick else CHAIN.tasks

    async def run(database: Database, process: RunningServer) -> Row:
        await create(database.url, tasks)
        left = [tasks * CHAIN.steps]
        registered = [await PlainWorker.register(process.port, slots) for _ in range(workers)]
        start, cpu, postgres = time.perf_counter(), process.cpu, server_cpu(database)
        if slots >= _CLAIMS_AHEAD:
            await asyncio.gather(*(worker.work_ahead(left, process.port) for worker in registered))
        else:
            await asyncio.gather(*(worker.work(left) for worker in registered))
        took, steps = time.perf_counter() - start, tasks * CHAIN.steps
        return Row(
            store=store,
            workload=workload(workers, slots),
            processes=workers,
            steps_per_s=steps / took,
            latency_ms=Percentiles.of(
                [each for worker in registered for each in worker.settlements]
            ),
            python_us_per_step=(process.cpu - cpu) / steps * 1e6,
            postgres_us_per_step=postgres
            and ((server_cpu(database) or 0.0) - postgres) / steps * 1e6,
        )

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(register(database))
            with serving(database.url) as process:
                rows.append(asyncio.run(run(database, process)))
    return median_row(rows)


def idle(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the CPU and the memory of a server with 1,000 idle remote workers."""
    seconds = 10.0 if settings.quick else 30.0

    async def run(process: RunningServer) -> Row:
        begin = time.monotonic()
        waiting = []
        for _ in range(IDLE):
            worker = await PlainWorker.register(process.port, 2)
            waiting.append(asyncio.create_task(worker.rest(process.port)))
        await asyncio.sleep(max(0.0, begin + _RENEWALS - time.monotonic()) + 1)  # all wait
        start, cpu = time.monotonic(), process.cpu
        await asyncio.sleep(seconds)
        share = (process.cpu - cpu) / (time.monotonic() - start)
        memory = proc.memory(process.pid)
        for task in waiting:
            if task.done():
                task.result()  # raises the error of a refused request
            task.cancel()
        return Row(store=store, workload="remote-idle", idle_cpu_percent=share * 100, rss_mb=memory)

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(register(database))
            more = {"TASKER_SERVER__CONNECTIONS_PER_ADDRESS": "5000"}  # all are on this machine
            with serving(database.url, settings=more) as process:
                rows.append(asyncio.run(run(process)))
    return median_row(rows)


def cancel(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure from the request to cancel a task until its attempt's worker knows."""
    tasks = 30 if settings.quick else 200

    async def run(database: Database, process: RunningServer) -> Row:
        worker, line = await PlainWorker.register(process.port, 1), await connect(process.port)
        took = [await worker.hear_cancel(database.url, process.port, line) for _ in range(tasks)]
        return Row(store=store, workload="remote-cancel", latency_ms=Percentiles.of(took))

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(register(database))
            with serving(database.url) as process:
                rows.append(asyncio.run(run(database, process)))
    return median_row(rows)


async def create(url: str, tasks: int) -> None:
    """Create chains."""
    key = CHAIN.template.key
    request = TaskRequest(template=f"{key.namespace}.{key.name}", context={"n": 1})
    async with open_store(url) as store:
        for begin in range(0, tasks, 500):
            await LocalClient(store).create_tasks([request] * min(500, tasks - begin))


class PlainWorker:
    """One remote worker."""

    def __init__(self, line: Connection, worker: str, slots: int, most_ahead: int) -> None:
        self._line = line
        self._path = f"/v1/workers/{worker}"
        self._slots = slots
        self._most_ahead = most_ahead  #: steps beyond its slots
        self._steps: list[Any] = []  #: claimed, and not reported yet
        self.settlements: list[float] = []  #: seconds of each

    @classmethod
    async def register(cls, port: int, slots: int) -> "PlainWorker":
        """Register a worker for the steps of chains."""
        line = await connect(port)
        body = {
            "protocol": 1,
            "name": "bench",
            "slots": slots,
            "namespaces": [CHAIN.template.namespace],
            "handlers": [{"name": spec.handler} for spec in CHAIN.template.steps],
        }
        response = await line.request("POST", "/v1/workers", orjson.dumps(body))
        require_success([response])
        answer = orjson.loads(response.body)
        return cls(line, answer["worker"], slots, answer["claim_ahead"])

    async def work(self, left: list[int]) -> None:
        """Run steps until none is left for all workers together."""
        while left[0] > 0:
            if len(self._steps) < self._slots:
                wait = 0.0 if self._steps else 0.2
                room = self._slots - len(self._steps)
                self._steps += await self._call("claim", max=room, wait_s=wait)
            if self._steps:
                outcomes = [
                    {"ticket": step["ticket"], "outcome": "complete", "result": {"ok": True}}
                    for step in self._steps
                ]
                left[0] -= len(outcomes)
                self._steps = await self._call("settle", outcomes=outcomes, max=self._slots)

    async def work_ahead(self, left: list[int], port: int) -> None:
        """Run steps as `work` does, claiming ahead, with settlements as the Python worker sends
        them: a second one beside the first only if it is large."""
        lines = [self._line, await connect(port)]
        settling = 0  # outcomes under way
        capacity, ended, since = self._slots, 0, time.perf_counter()
        changed = asyncio.Event()  # of what this method's conditions read

        async def settle(line: Connection) -> None:
            nonlocal settling, capacity, ended, since
            while left[0] > 0:
                if (elapsed := time.perf_counter() - since) >= _AHEAD:
                    ahead = min(round(ended / elapsed * _AHEAD), self._most_ahead)
                    capacity, ended, since = self._slots + ahead, 0, since + elapsed
                size = max(capacity // (len(lines) + 1), 1)
                if not self._steps or (settling and len(self._steps) < size):
                    changed.clear()
                    await changed.wait()
                    continue
                steps, self._steps = self._steps[:size], self._steps[size:]
                outcomes = [
                    {"ticket": step["ticket"], "outcome": "complete", "result": {"ok": True}}
                    for step in steps
                ]
                left[0] -= len(outcomes)
                settling += len(outcomes)
                freed = await self._call("settle", line, outcomes=outcomes, max=len(outcomes))
                settling -= len(outcomes)
                ended += len(outcomes)
                self._steps += freed
                changed.set()

        async def claim(line: Connection) -> None:
            while True:
                room = capacity - len(self._steps) - settling
                if room > capacity // 4:
                    claimed = await self._call("claim", line, max=room, wait_s=_WAIT)
                    self._steps += claimed
                    changed.set()
                else:
                    changed.clear()
                    await changed.wait()

        claiming = asyncio.create_task(claim(await connect(port)))
        await asyncio.gather(*(settle(line) for line in lines))
        claiming.cancel()

    async def rest(self, port: int) -> None:
        """Claim and renew with long polls until cancelled."""
        renewals = await connect(port)

        async def renew() -> None:
            while True:
                await self._post(renewals, "renew", held=[], wait_s=_RENEWALS)

        async def claim() -> None:
            while True:
                await self._call("claim", max=self._slots, wait_s=_WAIT)

        await asyncio.gather(renew(), claim())

    async def hear_cancel(self, url: str, port: int, line: Connection) -> float:
        """Run a task's first step until it is cancelled; return the seconds that this takes."""
        await create(url, 1)
        [step] = await self._call("claim", max=1, wait_s=_WAIT)
        body = {"held": [step["ticket"]], "wait_s": _RENEWALS}
        renewing = asyncio.create_task(self._post(line, "renew", **body))
        await asyncio.sleep(0.05)  # the renewal waits in the server
        start = time.perf_counter()
        cancelling = await connect(port)
        path = f"/v1/tasks/{step['task_id']}/cancel"
        cancelled = asyncio.create_task(cancelling.request("POST", path, b'{"reason": "bench"}'))
        while not (await renewing)["cancelled"]:
            renewing = asyncio.create_task(self._post(line, "renew", **body))
        took = time.perf_counter() - start
        require_success([await cancelled])
        cancelling.close()
        return took

    async def _post(self, line: Connection, action: str, **body: Any) -> Any:
        response = await line.request("POST", f"{self._path}/{action}", orjson.dumps(body))
        require_success([response])
        return orjson.loads(response.body)

    async def _call(self, action: str, line: Connection | None = None, /, **body: Any) -> list[Any]:
        path = f"{self._path}/{action}"
        response = await (line or self._line).request("POST", path, orjson.dumps(body))
        require_success([response])
        answer = orjson.loads(response.body)
        if action == "settle":
            self.settlements.append(response.took)
            if refused := {*answer["settled"]} - {"complete"}:
                raise RuntimeError(f"outcomes were not accepted: {', '.join(refused)}")
        steps: list[Any] = answer["steps"]
        return steps
