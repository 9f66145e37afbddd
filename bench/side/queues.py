"""Many handlers in one worker, each with a queue of its own."""

from bench.side.order import Order, Sample, Steps, cpu_of
from tasker import LocalClient, StepSpec, TaskRequest, Template, Worker, open_store

_EACH = 4  #: steps in a row of each template
_BATCH = 500  #: tasks created by one call


def _templates(handlers: int) -> list[Template]:
    """Return chains that call `handlers` handlers in turn, and each at least once."""
    return [
        Template(
            namespace="bench",
            name=f"chain{number}",
            version="1.0.0",
            steps=tuple(
                StepSpec(
                    name=f"s{no}",
                    callable=f"h{(number * _EACH + no) % handlers}",
                    dependencies=(f"s{no - 1}",) if no else (),
                )
                for no in range(_EACH)
            ),
        )
        for number in range(max(5, handlers // _EACH))
    ]


async def queues(order: Order) -> Sample:
    """Start a worker with `size` handlers and its templates, then run tasks of all templates."""
    steps = Steps(order)
    templates = _templates(order["size"])
    handlers = {f"h{no}": steps.work for no in range(order["size"])}
    async with open_store(order["url"], upgrade=True) as store:
        start = cpu_of(order)
        async with Worker(store, handlers=[handlers], templates=templates):
            started = cpu_of(order).since(start, 1)
        client = LocalClient(store)
        requests = [
            TaskRequest(template=templates[no % len(templates)].full_name, context={"n": 1})
            for no in range(order["amount"])
        ]
        for first in range(0, len(requests), _BATCH):
            await client.create_tasks(requests[first : first + _BATCH])
        # Each template is compiled when its first task runs, before the measurement.
        steps.expect(len(requests) * _EACH, first=len(templates) * _EACH)
        async with Worker(store, handlers=[handlers], templates=templates):
            await steps.done.wait()
    return {"start": started, "run": steps.cost()}
