"""Which measurements a run consists of."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench import api, history, peer, responses
from bench.fleet import Settings
from bench.places import STORES, Server
from bench.rows import Row
from bench.throughput import throughput
from bench.workloads import THROUGHPUT, Workload

Told = Callable[[str], None]


class Measurement(NamedTuple):
    """One measurement, not made yet."""

    store: str
    workload: str
    processes: int
    measure: Callable[[Settings, Server | None, Told], list[Row]]

    def __str__(self) -> str:
        workers = f", {self.processes} workers" if self.processes > 1 else ""
        return f"{self.workload} on {self.store}{workers}"


def everything() -> Iterator[Measurement]:
    """All that can be measured."""
    for store in STORES:
        for workload in THROUGHPUT.values():
            yield _throughput(store, workload, 1)
        yield _throughput(store, THROUGHPUT["chain"], 2)
        yield _throughput(store, THROUGHPUT["fan50"], 2)
        yield _single(store, "latency", responses.latency)
        yield _single(store, "create-bulk", responses.create_bulk)
        yield _single(store, "create-single", responses.create_single)
        yield _single(store, "wake", responses.wake, 2)
        yield _single(store, "idle", responses.idle)
        yield _single(store, "api-create", api.create)
        yield _single(store, "api-bulk", api.create_bulk)
        yield _single(store, "api-list", api.listing)
        yield _single(store, "api-wait", api.wait)
        yield Measurement(store, "history", 1, _history(store))
        yield Measurement(store, "sustained", 1, _sustained(store))
    if peer.installed():
        yield Measurement("postgres", "dbos", 1, peer.dbos)


_QUICK_SQLITE = ("chain", "fan50", "lattice", "latency", "create-bulk", "create-single", "wake")
_QUICK_NORMAL = ("chain", "latency")


def chosen(
    names: list[str],
    store: str | None,
    processes: int | None,
    *,
    quick: bool,
    long: bool,
) -> list[Measurement]:
    """Choose: those named, or else all that the kind of run includes."""
    found = []
    for one in everything():
        if store not in (None, one.store) or processes not in (None, one.processes):
            continue
        wanted = one.workload in names if names else _included(one, quick=quick, long=long)
        if wanted:
            found.append(one)
    return found


def _included(one: Measurement, *, quick: bool, long: bool) -> bool:
    if one.workload == "sustained":
        return long and one.store != "sqlite-normal"
    if one.workload == "history":
        return not quick and one.store != "sqlite-normal"
    if not quick or one.store == "postgres":
        return True
    if one.processes > 1 and one.workload != "wake":
        return False
    return one.workload in (_QUICK_SQLITE if one.store == "sqlite" else _QUICK_NORMAL)


def _throughput(store: str, workload: Workload, processes: int) -> Measurement:
    return Measurement(
        store,
        workload.name,
        processes,
        lambda settings, server, told: [throughput(settings, store, server, workload, processes)],
    )


def _single(
    store: str,
    name: str,
    measure: Callable[[Settings, str, Server | None], Row],
    processes: int = 1,
) -> Measurement:
    return Measurement(
        store, name, processes, lambda settings, server, told: [measure(settings, store, server)]
    )


def _history(store: str) -> Callable[[Settings, Server | None, Told], list[Row]]:
    return lambda settings, server, told: [history.with_history(settings, store, server, told)]


def _sustained(store: str) -> Callable[[Settings, Server | None, Told], list[Row]]:
    return lambda settings, server, told: history.sustained(settings, store, server, told)
