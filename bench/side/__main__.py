"""Runs the program that an order names, and prints what it cost as the last line."""

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from pathlib import Path

import tasker
from bench.side.order import UNSUPPORTED, Order, Sample

#: the module and the function of each program
_PROGRAMS = {
    "chain": ("shapes", "shape"),
    "fan50": ("shapes", "shape"),
    "create-single": ("shapes", "create_single"),
    "backlog": ("shapes", "backlog"),
    "api-create": ("api", "create"),
    "remote-1x50": ("remote", "remote"),
    "remote-8x5": ("remote", "remote"),
    "remote-12x2": ("remote", "remote"),
    "remote-1x1": ("remote", "remote"),
    "queues": ("queues", "queues"),
    "snapshot": ("snapshot", "snapshot"),
    "feed": ("snapshot", "feed"),
    "processes": ("processes", "processes"),
    "memory": ("memory", "memory"),
    "serve": ("memory", "serve"),
    "worker": ("processes", "work"),
}


def main() -> None:
    order: Order = json.loads(sys.argv[1])
    loaded = Path(tasker.__file__ or "").resolve()
    if not loaded.is_relative_to(order["source"]):
        raise SystemExit(f"tasker was imported from {loaded}, not from {order['source']}")
    gc.set_threshold(10_000)  # as `tasker worker` does
    factory = None
    if order["loop"] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    module, function = _PROGRAMS[order["program"]]
    try:
        program: Callable[[Order], Coroutine[None, None, Sample]]
        program = getattr(import_module(f"bench.side.{module}"), function)
    except ImportError as error:
        print(f"this revision lacks what the workload needs: {error}", file=sys.stderr)
        raise SystemExit(UNSUPPORTED) from None
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(program(order))), flush=True)


if __name__ == "__main__":
    main()
