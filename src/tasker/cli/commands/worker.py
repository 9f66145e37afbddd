"""`tasker worker`: runs steps until a signal, in one process or in several."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from tasker.cli.app import Invocation, register_command
from tasker.cli.config import ConfigFile, StoreOption, load_config, set_up_logs_from_settings
from tasker.cli.exits import ExitCode
from tasker.cli.loading import explain_version_conflicts, handle_signals, load_sources
from tasker.cli.options import (
    Environment,
    Namespaces,
    Reason,
    TemplatePaths,
    parse_duration_option,
)
from tasker.cli.processes import (
    report_start_and_watch_supervisor,
    single_process_command,
    supervise_processes,
)
from tasker.cli.render.json import to_plain_json
from tasker.cli.render.style import (
    format_relative_time,
    is_ascii_only,
    print_table,
    to_printable_line,
)
from tasker.cli.render.tables import make_table
from tasker.durations import human_duration
from tasker.engine import Worker
from tasker.errors import InvalidSettings
from tasker.model import MOST_WORKER_ATTEMPTS
from tasker.notices import Around, Observer
from tasker.settings import Settings
from tasker.store.open import open_store

if TYPE_CHECKING:
    from tasker.observe.endpoint import ObservabilityEndpoint


app = typer.Typer(add_completion=False)

log = logging.getLogger("tasker.cli")


@register_command(
    app, "worker", store=None, json=False, level=logging.INFO, fast=True, is_group=True
)
def run_workers(
    invocation: Invocation,
    context: typer.Context,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Source of handlers and workflows: a module, file or directory. Repeatable.",
        ),
    ] = None,
    templates: TemplatePaths = None,
    namespaces: Namespaces = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="NAME=VALUE",
            help="Label that steps can require of the worker. Repeatable.",
        ),
    ] = None,
    http: Annotated[
        bool | None,
        typer.Option("--http", metavar="", help="Also run http: steps, which call other services."),
    ] = None,
    config: ConfigFile = None,
    store: StoreOption = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help=(
                "URL of a server through which the worker runs steps without access to the "
                "database. Set TASKER_API_KEY or TASKER_TOKEN to the credential."
            ),
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Maximum number of steps that a process runs at a time; default: 100.",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", "-p", min=1, max=256, metavar="N", help="Number of worker processes."
        ),
    ] = 1,
    grace: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option,
            metavar="TIME",
            help="How long running steps may take to finish at shutdown; default: 20s.",
        ),
    ] = None,
    lease: Annotated[
        Any,
        typer.Option(
            parser=parse_duration_option,
            metavar="TIME",
            help="Time after which other workers take over a dead worker's steps; default: 30s.",
        ),
    ] = None,
    environment: Environment = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help=(
                "Address of /metrics, /live and /ready. With --processes, each further process "
                "uses the next port."
            ),
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the worker, shown to operators; default: the host name."
        ),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            metavar="",
            help="Replace registered versions that differ; for development only.",
        ),
    ] = False,
    supervisor: Annotated[int | None, typer.Option("--supervisor-fd", hidden=True)] = None,
) -> Any:
    """Run a worker until SIGTERM or SIGINT.

    The worker registers its templates at startup. If it has no handler for a step, another
    worker or an operator must complete the step; a warning lists these steps.

    A handler that appears in the given templates runs steps in the namespaces of these
    templates. Any other handler runs steps in the namespaces that --namespace names.
    `--handlers payments=FILE` binds the handlers of a file to one namespace.

    The first signal stops the worker gracefully: running steps may finish within the grace
    time, and unfinished steps are released to other workers. The second signal stops the
    worker immediately. Exit code: 0 after a stop, 2 invalid input, 3 store unavailable.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.DONE
    overrides = {
        "store": store,
        "environment": environment,
        "worker": {
            "handlers": handlers or None,
            "templates": templates or None,
            "namespaces": namespaces or None,
            "labels": _parse_labels(labels or []) or None,
            "http": http,
            "slots": slots,
            "grace": grace,
            "lease": lease,
            "metrics": metrics,
        },
    }
    settings = load_config(config, overrides)
    set_up_logs_from_settings(invocation, context, settings)
    if not settings.worker.handlers and not settings.worker.http:
        raise typer.BadParameter("a worker needs handlers: pass --handlers")
    if processes > 1:
        commands = _worker_command_lines(processes, settings.worker.metrics)
        return asyncio.run(supervise_processes("worker", commands))
    return _run_worker(settings, server=server, name=name, replace=replace, supervisor=supervisor)


@register_command(app, "drain", acts=True)
async def drain_worker(
    invocation: Invocation,
    worker: Annotated[
        int,
        typer.Argument(
            min=1, metavar="ID", help="Id of the worker, as shown by `tasker db status`."
        ),
    ],
    reason: Reason = "",
) -> None:
    """Stop a worker from claiming more steps; it finishes the running ones and keeps its lease.

    Then stop the worker: it ends as soon as it has no more running steps.
    """
    async with invocation.open_client(operates=True) as client:
        await client.drain_worker(worker, reason=reason)
    if invocation.as_json:
        invocation.print_json({"worker": worker, "drained": True})
        return
    invocation.stdout_console.print(f"worker {worker} claims no more steps")


@register_command(app, "attempts")
async def list_worker_attempts(
    invocation: Invocation,
    worker: Annotated[
        int,
        typer.Argument(
            min=1, metavar="ID", help="Id of the worker, as shown by `tasker db status`."
        ),
    ],
    limit: Annotated[
        int, typer.Option(min=1, max=MOST_WORKER_ATTEMPTS, help="Maximum number of attempts.")
    ] = 25,
) -> None:
    """List a worker's ended attempts among those of the newest 1,000 tasks, newest first."""
    async with invocation.open_client() as client:
        attempts = await client.ended_worker_attempts(worker, limit=limit)
    if invocation.as_json:
        invocation.print_json({"attempts": to_plain_json(attempts)})
        return
    if not attempts:
        invocation.stderr_console.print(
            f"the newest 1,000 tasks have no ended attempts of worker {worker}"
        )
        return
    plain, now = is_ascii_only(invocation.stdout_console), datetime.now(UTC)
    columns = ("ended", "workflow", "step", "attempt", "outcome", "took", "error", "task")
    rows = make_table(*columns, right=("attempt", "took"))
    for one in attempts:
        took = None if one.claimed_at is None else one.settled_at - one.claimed_at
        rows.add_row(
            one.settled_at.isoformat() if plain else format_relative_time(one.settled_at, now),
            f"{one.namespace}.{one.name}@{one.version}",
            Text(to_printable_line(one.step), style="bold"),
            str(one.attempt),
            one.outcome,
            "" if took is None else human_duration(took),
            Text(to_printable_line(one.error or ""), style="red"),
            one.task_id,
        )
    print_table(invocation.stdout_console, rows)


async def _run_worker(
    settings: Settings,
    *,
    server: str | None,
    name: str | None,
    replace: bool,
    supervisor: int | None,
) -> ExitCode:
    """Run a worker until a signal.

    Args:
        settings: All settings.
        server: The server's URL, for a worker that reaches the store through a server; otherwise
            None.
        name: The worker's name, as shown to operators.
        replace: Whether existing templates with different content are replaced.
        supervisor: File descriptor of the socket to the supervisor.
    """
    loaded = load_sources(settings.worker.handlers, settings.worker.templates, skip_broken=True)
    with _set_up_telemetry(settings) as (observers, around, endpoint):
        options = {
            "templates": loaded.templates,
            "namespaces": settings.worker.namespaces,
            "partial": True,
            "settings": settings.worker.worker_settings(settings.environment),
            "name": f"{name}:{os.getpid()}" if name else None,
            "replace": replace,
            "observers": observers,
            "around": around,
        }
        async with _open_worker(settings, server, [loaded.handlers], options) as worker:
            if endpoint is not None:
                endpoint.worker = worker
                worker.reporter.group_observers.append(endpoint.metrics.count_notices)

            def stop_on_signal(which: signal.Signals, count: int) -> None:
                log.info("stopping", extra={"signal": which.name, "at_once": count > 1})
                worker.stop(None if count == 1 else timedelta(0))

            with handle_signals(stop_on_signal):
                async with explain_version_conflicts(worker.client, loaded.templates), worker:
                    with report_start_and_watch_supervisor(supervisor, worker.stop):
                        await worker.wait_until_ended()
    return ExitCode.DONE


@asynccontextmanager
async def _open_worker(
    settings: Settings, server: str | None, handlers: Sequence[object], options: dict[str, Any]
) -> AsyncIterator[Worker]:
    """Return a worker on the open store, or on the connection to a server."""
    if server is None:
        async with open_store(settings.store.get_secret_value()) as store:
            yield Worker(store, handlers, **options)
        return
    if not server.startswith(("http://", "https://")):
        raise InvalidSettings(f"--server {server}: the URL must start with http:// or https://")
    from tasker.remote.store import RemoteStore
    from tasker.remote.worker import RemoteWorker

    key, token = os.environ.get("TASKER_API_KEY"), os.environ.get("TASKER_TOKEN")
    async with RemoteStore(server, api_key=key, token=token) as remote:
        yield RemoteWorker(remote, handlers, **options)


def _parse_labels(words: Sequence[str]) -> dict[str, str]:
    """Read labels, each written as `name=value`."""
    pairs = [word.partition("=") for word in words]
    for name, _, value in pairs:
        if not (name and value):
            raise typer.BadParameter(f"{name!r} is not a label; write NAME=VALUE, such as gpu=true")
    return {name: value for name, _, value in pairs}


@contextmanager
def _set_up_telemetry(
    settings: Settings,
) -> Iterator[tuple[Sequence[Observer], Around | None, "ObservabilityEndpoint | None"]]:
    """Export traces, and serve metrics and probes, according to the settings.

    Raises:
        InvalidSettings: A package is not installed, or the address is invalid or in use.
    """
    observers: list[Observer] = []
    around: Around | None = None
    if settings.telemetry.traces:
        from tasker.observe.tracing import Tracing, set_up_otlp_export

        set_up_otlp_export(settings.telemetry.service)
        tracing = Tracing()
        observers.append(tracing.record_notice)
        around = tracing.attempt_span
    if settings.worker.metrics is None:
        yield observers, around, None
        return
    from tasker.observe.endpoint import ObservabilityEndpoint
    from tasker.observe.metrics import Metrics

    endpoint = ObservabilityEndpoint(Metrics())
    with endpoint.serve(settings.worker.metrics):
        yield observers, around, endpoint


# ------------------------------------------------------------------- several processes


def _worker_command_lines(count: int, metrics: str | None) -> list[list[str]]:
    """Return the command line of each process, each with its own metrics port."""
    if metrics is None:
        return [single_process_command()] * count
    from tasker.observe.endpoint import parse_address

    host, port = parse_address(metrics)
    host = f"[{host}]" if ":" in host else host
    if port and port + count - 1 > 65535:
        raise InvalidSettings(
            f"--metrics {metrics}: {count} processes need ports above 65535; choose a lower port"
        )
    ports = [port + no if port else 0 for no in range(count)]
    return [single_process_command("--metrics", f"{host}:{own}") for own in ports]
