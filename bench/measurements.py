"""The measurements that a run consists of."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from bench import api, history, latencies, page, peer, remote, tabs, ui
from bench.compared import COMPARED, Compared, Scale
from bench.costs import settle_costs
from bench.databases import STORES, Server
from bench.fleet import Settings
from bench.rows import Row
from bench.scale import scale_rows
from bench.throughput import throughput
from bench.workloads import GROWTH, THROUGHPUT, Workload

Progress: TypeAlias = Callable[[str], None]
Measure: TypeAlias = Callable[[Settings, Server | None, Progress], list[Row]]


class Measurement(NamedTuple):
    """One measurement that can be made."""

    store: str
    workload: str
    processes: int
    measure: Measure

    def __str__(self) -> str:
        workers = f", {self.processes} workers" if self.processes > 1 else ""
        return f"{self.workload} on {self.store}{workers}"


def all_measurements() -> Iterator[Measurement]:
    """List all measurements."""
    for store in STORES:
        for workload in THROUGHPUT.values():
            yield _throughput(store, workload, 1)
        yield _throughput(store, THROUGHPUT["chain"], 2)
        yield _throughput(store, THROUGHPUT["fan50"], 2)
        for workload in GROWTH.values():
            yield _throughput(store, workload, 1)
        for name in ("limits", "limit"):
            yield _throughput(store, GROWTH[name], 4)
        yield _single(store, "wake-signal", latencies.wake_by_signal, 2)
        yield _single(store, "idle-parked", latencies.idle_parked)
        yield _single(store, "timers", latencies.timers)
        yield _single(store, "latency", latencies.latency)
        yield _single(store, "create-bulk", latencies.create_bulk)
        yield _single(store, "create-single", latencies.create_single)
        yield _single(store, "wake", latencies.wake, 2)
        yield _single(store, "idle", latencies.idle)
        yield _single(store, "api-create", api.create)
        yield _single(store, "api-bulk", api.create_bulk)
        yield _single(store, "api-list", api.list_pages)
        yield _single(store, "api-wait", api.wait)
        for workers, slots in remote.SHAPES:
            measure = remote.remote(workers, slots)
            yield _single(store, remote.workload(workers, slots), measure, workers)
        yield _single(store, "remote-idle", remote.idle)
        yield _single(store, "remote-cancel", remote.cancel)
        yield Measurement(store, "history", 1, _history(store))
        yield Measurement(store, "sustained", 1, _sustained(store))
        for one in COMPARED:
            if one.program in SCALES and store in one.measures:
                yield _scale(store, one)
    yield Measurement("postgres", "peer", 1, peer.peer)
    yield Measurement("postgres", "ui", 1, _ui(ui.pages))
    yield Measurement("postgres", "ui-tabs", 1, _ui(tabs.tabs))
    yield Measurement("postgres", "ui-page", 1, _ui(page.pages))
    for store in ("postgres", "sqlite"):
        yield Measurement(store, "settle-costs", 1, _costs(store))


SCALES = ("queues", "processes", "snapshot", "backlog", "memory")
_WAITS = ("wake-signal", "idle-parked", "timers", "remote-idle", "remote-cancel")
_SLOW = ("snapshot", "backlog", "memory")
_QUICK_SQLITE = ("chain", "fan50", "lattice", "latency", "create-bulk", "create-single", "wake")
_QUICK_NORMAL = ("chain", "latency")


def select(
    names: list[str],
    store: str | None,
    processes: int | None,
    *,
    scale: Scale,
) -> list[Measurement]:
    """List the named measurements, or else those that this kind of run includes."""
    return [
        one
        for one in all_measurements()
        if store in (None, one.store)
        and processes in (None, one.processes)
        and (one.workload in names if names else _included(one, scale))
    ]


def _included(one: Measurement, scale: Scale) -> bool:
    if one.workload in ("sustained", "ui", "ui-tabs", "ui-page", "settle-costs", *_SLOW):
        return scale == "long" and one.store != "sqlite-normal"
    if one.workload in ("history", *SCALES, *GROWTH, *_WAITS):
        return scale != "quick" and one.store != "sqlite-normal"
    if scale != "quick" or one.store == "postgres":
        return True
    if one.processes > 1 and one.workload != "wake":
        return False
    return one.workload in (_QUICK_SQLITE if one.store == "sqlite" else _QUICK_NORMAL)


def _throughput(store: str, workload: Workload, processes: int) -> Measurement:
    def measure(settings: Settings, server: Server | None, _: Progress) -> list[Row]:
        return [throughput(settings, store, server, workload, processes)]

    return Measurement(store, workload.name, processes, measure)


def _single(
    store: str,
    name: str,
    run: Callable[[Settings, str, Server | None], Row],
    processes: int = 1,
) -> Measurement:
    def measure(settings: Settings, server: Server | None, _: Progress) -> list[Row]:
        return [run(settings, store, server)]

    return Measurement(store, name, processes, measure)


def _scale(store: str, workload: Compared) -> Measurement:
    def measure(settings: Settings, server: Server | None, _: Progress) -> list[Row]:
        return scale_rows(settings, store, server, workload)

    return Measurement(store, workload.program, workload.processes, measure)


def _ui(run: Callable[[Settings, str, Server | None], list[Row]]) -> Measure:
    return lambda settings, server, _: run(settings, "postgres", server)


def _costs(store: str) -> Measure:
    return lambda settings, server, _: settle_costs(settings, store, server)


def _history(store: str) -> Measure:
    return lambda settings, server, progress: [
        history.with_history(settings, store, server, progress)
    ]


def _sustained(store: str) -> Measure:
    return lambda settings, server, progress: history.sustained(settings, store, server, progress)
