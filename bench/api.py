"""The HTTP API: creating tasks, singly and in bulk, listing among many tasks, waiting.

The server is a process of its own, as `tasker server` runs it. Creations are sent with an API key;
metrics and log are as by default. The requests come from this process over several connections, as
plain bytes, so that the client costs little.
"""

import asyncio
import json
import time
from collections.abc import Sequence

from bench.databases import Database, Server, empty_database
from bench.fleet import Settings, loop_factory
from bench.history import FINISHED, finish
from bench.http_client import RunningServer, connect, make_key, require_success, send_all, serving
from bench.rows import Percentiles, Row, median_row
from bench.workloads import CHAIN, NAMESPACE
from tasker import LocalClient
from tasker.store.open import open_store

CONNECTIONS = 50
BULK = 500  #: tasks created by one request
_NAME = {"name": CHAIN.template.name, "namespace": CHAIN.template.namespace, "context": {"n": 1}}


def create(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the creation of chains, one in a request."""
    tasks = 4_000 if settings.quick else 20_000
    body = json.dumps(_NAME).encode()
    return _creation(settings, store, server, "api-create", [body] * tasks, 1)


def create_bulk(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure the creation of chains, `BULK` in a request."""
    requests = 20 if settings.quick else 80
    body = json.dumps({"tasks": [_NAME] * BULK}).encode()
    return _creation(settings, store, server, "api-bulk", [body] * requests, BULK)


def _creation(
    settings: Settings,
    store: str,
    server: Server | None,
    workload: str,
    bodies: Sequence[bytes],
    each: int,
) -> Row:
    path = "/v1/tasks" if each == 1 else "/v1/tasks/bulk"
    connections = CONNECTIONS if each == 1 else 4

    async def run(database: Database, process: RunningServer, key: str) -> Row:
        lines = [await connect(process.port, key) for _ in range(connections)]
        for line in lines:
            await line.request("POST", path, bodies[0])
        start, cpu, postgres = time.perf_counter(), process.cpu, server_cpu(database)
        own = time.process_time()
        responses = await send_all(lines, path, iter(bodies))
        took, own = time.perf_counter() - start, time.process_time() - own
        tasks = len(bodies) * each
        steps = tasks * CHAIN.steps
        return Row(
            store=store,
            workload=workload,
            tasks_per_s=tasks / took,
            latency_ms=Percentiles.of([response.took for response in responses]),
            python_us_per_step=(process.cpu - cpu) / steps * 1e6,
            client_us_per_step=own / steps * 1e6,
            postgres_us_per_step=postgres
            and ((server_cpu(database) or 0.0) - postgres) / steps * 1e6,
        )

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(register(database))
            key = make_key(database.url, NAMESPACE)
            fast = asyncio.Runner(loop_factory=loop_factory(settings.loop))
            with serving(database.url, auth=True) as process, fast as runner:
                rows.append(runner.run(run(database, process, key)))
            asyncio.run(_require_tasks(database, (len(bodies) + connections) * each))
    return median_row(rows)


def list_pages(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure pages of 25 among a million tasks: first, second, by template, by status."""
    tasks = FINISHED // 20 if settings.quick else FINISHED
    pages = 60 if settings.quick else 300

    async def run(port: int) -> Row:
        line = await connect(port)
        first = json.loads((await line.request("GET", "/v1/tasks")).body)
        cursor = first["pagination"]["next_cursor"]
        paths = (
            "/v1/tasks",
            f"/v1/tasks?cursor={cursor}",
            f"/v1/tasks?namespace={CHAIN.template.namespace}&name={CHAIN.template.name}",
            "/v1/tasks?status=complete",
        )
        requested = iter([paths[no % len(paths)] for no in range(pages)])
        responses = [await line.request("GET", path) for path in requested]
        require_success(responses)
        took = Percentiles.of([response.took for response in responses])
        return Row(store=store, workload="api-list", latency_ms=took)

    with empty_database(store, server) as database:
        asyncio.run(finish(database, tasks))
        with serving(database.url) as process:
            return median_row([asyncio.run(run(process.port)) for _ in range(settings.runs)])


def wait(settings: Settings, store: str, server: Server | None) -> Row:
    """Measure a chain from create to end, in two requests; its worker is in the server."""
    tasks = 100 if settings.quick else 500

    async def run(port: int) -> Row:
        line, took = await connect(port), []
        body = json.dumps(_NAME).encode()
        for _ in range(tasks):
            start = time.perf_counter()
            created = await line.request("POST", "/v1/tasks", body)
            ended = await line.request("GET", f"/v1/tasks/{json.loads(created.body)['id']}/wait")
            took.append(time.perf_counter() - start)
            require_success([created, ended])
        return Row(store=store, workload="api-wait", latency_ms=Percentiles.of(took[5:]))

    rows = []
    for _ in range(settings.runs):
        with empty_database(store, server) as database:
            asyncio.run(register(database))
            worker = ("--with-worker", "--handlers", "bench.workloads", "--namespace", "*")
            with serving(database.url, *worker) as process:
                rows.append(asyncio.run(run(process.port)))
    return median_row(rows)


async def register(database: Database) -> None:
    """Register the template of chains."""
    async with open_store(database.url) as store:
        await LocalClient(store).register(CHAIN.template)


def server_cpu(database: Database) -> float | None:
    """Return the CPU seconds that the database server has used; None without one."""
    return database.server.cpu if database.server else None


async def _require_tasks(database: Database, tasks: int) -> None:
    """Require that the store has every task that was confirmed."""
    async with open_store(database.url) as store:
        backlog = await store.count_backlog()
    if backlog.due_steps < min(tasks, 100_000):
        raise RuntimeError(f"{tasks} tasks were confirmed, but only {backlog.due_steps} are due")
