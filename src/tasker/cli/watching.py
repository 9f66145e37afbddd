"""Who is told what a worker does: traces and metrics, as the settings say."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tasker.configuration import Settings
from tasker.errors import InvalidSettings
from tasker.events import Around, Observer

if TYPE_CHECKING:
    from tasker.observe.metrics import Metrics


class Watching(NamedTuple):
    """What a worker is given to be watched by."""

    observers: Sequence[Observer] = ()
    around: Around | None = None


@contextmanager
def watchers(settings: Settings) -> Iterator[Watching]:
    """Trace attempts, and tell metrics at an address, where the settings ask for it.

    Raises:
        InvalidSettings: What is needed is not installed, or the address is none or taken.
    """
    observers: list[Observer] = []
    around: Around | None = None
    if settings.telemetry.traces:
        from tasker.observe.tracing import Tracing, export

        export(settings.telemetry.service)
        tracing = Tracing()
        observers.append(tracing.observe)
        around = tracing.around
    if settings.worker.metrics is None:
        yield Watching(observers, around)
        return
    from tasker.observe.metrics import Metrics

    metrics = Metrics()
    observers.append(metrics.observe)
    with _told(metrics, settings.worker.metrics):
        yield Watching(observers, around)


@contextmanager
def _told(metrics: "Metrics", address: str) -> Iterator[None]:
    """Tell metrics over HTTP, from a thread."""
    from prometheus_client import start_http_server

    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InvalidSettings(f"{address!r} is no address; write it as 127.0.0.1:9100")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), metrics.registry)
    except OSError as error:
        raise InvalidSettings(f"cannot listen at {address}: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
