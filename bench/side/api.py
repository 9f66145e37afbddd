"""Creations over HTTP. The server is a process of its own, from the same checkout."""

import json
import time

from bench.http_client import RunningServer, connect, make_key, send_all, serving
from bench.side.order import Cpu, Order, Sample, cpu_of
from bench.side.shapes import make_workflow
from tasker import LocalClient, open_store

CONNECTIONS = 50
_WARM_UP = 20  #: requests of each connection before the measurement begins


async def create(order: Order) -> Sample:
    """Create `amount` tasks, one in a request, and return the cost of each to the server.

    The server requires an API key; its metrics and its log are as by default.
    """
    template = make_workflow("chain").template
    async with open_store(order["url"], upgrade=True) as store:
        await LocalClient(store).register(template)
    fields = {"name": template.name, "namespace": template.namespace, "context": {"n": 1}}
    body, tasks = json.dumps(fields).encode(), order["amount"]
    key = make_key(order["url"], template.namespace)
    with serving(order["url"], auth=True) as server:
        lines = [await connect(server.port, key) for _ in range(CONNECTIONS)]
        await send_all(lines, "/v1/tasks", iter([body] * (CONNECTIONS * _WARM_UP)))
        start = cpu_of_both(server, order)
        await send_all(lines, "/v1/tasks", iter([body] * tasks))
        return {"create": cpu_of_both(server, order).since(start, tasks)}


def cpu_of_both(server: RunningServer, order: Order) -> Cpu:
    """Return the CPU seconds of a server and of the database server."""
    return cpu_of(order)._replace(process=server.cpu, at=time.monotonic())
