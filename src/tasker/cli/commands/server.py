"""`tasker server`: serves the API, optionally with a worker, until a signal."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.api import create_app
from tasker.api.server import Server, choose_shared_port, is_loopback, run_server
from tasker.cli.app import Invocation, register_command
from tasker.cli.config import ConfigFile, StoreOption, load_config, set_up_logs_from_settings
from tasker.cli.loading import (
    LoadedSources,
    explain_version_conflicts,
    handle_signals,
    load_sources,
)
from tasker.cli.options import Environment, Namespaces, TemplatePaths
from tasker.cli.processes import (
    report_start_and_watch_supervisor,
    single_process_command,
    supervise_processes,
)
from tasker.client import LocalClient
from tasker.engine import Worker
from tasker.errors import InvalidSettings
from tasker.observe.metrics import SHARED, remove_process_gauges
from tasker.settings import Settings
from tasker.store.open import open_store
from tasker.store.protocol import Store
from tasker.teams.policies import load_policies
from tasker.template.load import load_templates
from tasker.web import add_web_ui

if TYPE_CHECKING:
    from tasker.observe.tracing import Tracing


log = logging.getLogger("tasker.cli")

app = typer.Typer(add_completion=False)

_ACTOR = "tasker server"


@register_command(app, "server", store=None, json=False, level=logging.INFO, fast=True)
def start_server(
    invocation: Invocation,
    context: typer.Context,
    config: ConfigFile = None,
    store: StoreOption = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address to listen on; default: 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; default: 8080."),
    ] = None,
    with_worker: Annotated[
        bool,
        typer.Option("--with-worker", metavar="", help="Also run a worker in this process."),
    ] = False,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Source of the worker's handlers. Repeatable.",
        ),
    ] = None,
    templates: TemplatePaths = None,
    namespaces: Namespaces = None,
    policies: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of namespace policies to declare at startup."),
    ] = None,
    environment: Environment = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            metavar="",
            help="Allow requests from other machines without authentication.",
        ),
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            "-p",
            min=1,
            max=256,
            metavar="N",
            help="Number of server processes, which share the port; needs PostgreSQL.",
        ),
    ] = 1,
    supervisor: Annotated[int | None, typer.Option("--supervisor-fd", hidden=True)] = None,
) -> Any:
    """Serve the API until SIGTERM or SIGINT.

    The first signal stops the server gracefully: it accepts no more requests, and running
    requests and steps may finish within the grace time. The second signal stops it immediately.
    Exit code: 0 after a stop, 2 invalid input, 3 store unavailable.

    With --processes, a supervisor restarts processes that die. Each process has
    its own limits and caches and, with --with-worker, its own worker.
    """
    worker: dict[str, Any] = {
        "embedded": with_worker or None,
        "handlers": handlers,
        "templates": templates,
        "namespaces": namespaces,
    }
    overrides: dict[str, Any] = {
        "store": store,
        "policies": policies,
        "environment": environment,
        "server": {"host": host, "port": port},
        "worker": worker,
    }
    settings = load_config(config, overrides)
    set_up_logs_from_settings(invocation, context, settings)
    if processes > 1:
        return serve_in_processes(settings, processes)
    return serve(settings, insecure=insecure, supervisor=supervisor)


def serve_in_processes(settings: Settings, count: int) -> int:
    """Serve the API in several processes until a signal; return the exit code.

    Raises:
        InvalidSettings: The store is not PostgreSQL, or the address is in use.
    """
    if not settings.store.get_secret_value().startswith("postgres"):
        raise InvalidSettings(
            f"--processes {count} needs PostgreSQL, because processes on one SQLite file would wait"
            " for each other: use one process, or a store such as postgresql://user@host/database"
        )
    command = single_process_command("--port", str(choose_shared_port(settings.server)))
    with TemporaryDirectory(prefix="tasker-metrics-") as metrics:
        return asyncio.run(
            supervise_processes(
                "server",
                [command] * count,
                environment={**os.environ, SHARED: metrics},
                on_ended=lambda pid: remove_process_gauges(pid, metrics),
            )
        )


async def serve(
    settings: Settings, *, insecure: bool = False, supervisor: int | None = None
) -> None:
    """Serve the API until a signal, optionally with a worker.

    Args:
        settings: All settings.
        insecure: Whether unauthenticated access from other machines is allowed.
        supervisor: File descriptor of the socket to the supervisor of several processes, which
            share the port.

    Raises:
        InvalidSettings: Listening at the address would need `insecure`.
        StoreUnavailable: The store cannot be reached.
    """
    own, auth = settings.server, settings.auth
    if not (is_loopback(own.host) or auth.enabled or insecure):
        raise InvalidSettings(
            f"refusing to listen on {own.host} without authentication, because anyone who can reach"
            " it would have full access: set `enabled = true` in [auth], or pass --insecure if a"
            " proxy in front authenticates callers"
        )
    loaded = _load_worker_sources(settings)
    tracing = _set_up_tracing(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.store.get_secret_value()))
        await _store_policies_and_templates(store, settings)
        worker = None if loaded is None else _make_worker(store, settings, loaded, tracing)
        app = create_app(
            store,
            settings=own,
            auth=auth,
            worker=worker,
            tracing=tracing,
            local_only=not (auth.enabled or insecure),
        )
        add_web_ui(app, own)
        if worker is not None:
            await stack.enter_async_context(worker)
        await stack.enter_async_context(_make_engine_worker(store, settings))
        shared = supervisor is not None
        server = await stack.enter_async_context(run_server(app, own, shared=shared))
        facts: dict[str, Any] = {"url": server.url, "auth": auth.enabled}
        if own.ui:
            facts["ui"] = f"{server.url}{own.base_path}/ui/"
        with report_start_and_watch_supervisor(supervisor, server.stop):
            await _wait_for_signal_and_stop(server, worker, facts)
    log.info("server_stopped")


async def _wait_for_signal_and_stop(
    server: Server, worker: Worker | None, facts: Mapping[str, Any]
) -> None:
    """Wait for a signal or for the end of the worker, then stop the server.

    The server is reported as started once signals are handled: a reader may send one at once.
    """
    stopping = asyncio.Event()

    def on_signal(which: signal.Signals, count: int) -> None:
        log.info("stopping", extra={"signal": which.name, "at_once": count > 1})
        server.stop(at_once=count > 1)
        if worker is not None and count > 1:
            worker.stop(timedelta(0))
        stopping.set()

    gc.collect()
    gc.freeze()  # else each full garbage collection examines all modules, for about 80 ms
    with handle_signals(on_signal):
        log.info("server_started", extra=facts)
        waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(server.wait_ended())]
        if worker is not None:
            waits.append(asyncio.create_task(worker.wait_until_ended()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            server.stop()
            await server.wait_ended()
        finally:
            for wait in waits:
                wait.cancel()


def _load_worker_sources(settings: Settings) -> LoadedSources | None:
    """Import the worker's handlers and read its templates, if a worker is to run."""
    if not settings.worker.embedded:
        if settings.worker.handlers:
            raise InvalidSettings("--handlers needs a worker in this process: add --with-worker")
        return None
    if not settings.worker.handlers and not settings.worker.http:
        raise InvalidSettings("a worker needs handlers: pass --handlers, or omit --with-worker")
    return load_sources(settings.worker.handlers, settings.worker.templates, skip_broken=True)


def _make_worker(
    store: Store, settings: Settings, loaded: LoadedSources, tracing: "Tracing | None"
) -> Worker:
    return Worker(
        store,
        [loaded.handlers],
        templates=loaded.templates,
        namespaces=settings.worker.namespaces,
        settings=settings.worker.worker_settings(settings.environment),
        observers=[tracing.record_notice] if tracing else [],
        around=tracing.attempt_span if tracing else None,
    )


def _make_engine_worker(store: Store, settings: Settings) -> Worker:
    """Return a worker for the engine's steps of namespaces without a live worker."""
    return Worker(
        store,
        settings=settings.worker.worker_settings(settings.environment).model_copy(
            update={"http": False}
        ),
        name=f"{socket.gethostname()}:{os.getpid()}:server",
        engine_only=True,
    )


async def _store_policies_and_templates(store: Store, settings: Settings) -> None:
    """Store namespace policies, and register templates if no worker does so."""
    client = LocalClient(store, actor=_ACTOR)
    if settings.policies is not None:
        for policy in load_policies(settings.policies):
            await client.put_policy(policy, reason=f"declared by {settings.policies}")
    if not settings.worker.embedded:
        templates = load_templates(settings.worker.templates)
        async with explain_version_conflicts(client, templates):
            await client.register_all(templates)


def _set_up_tracing(settings: Settings) -> "Tracing | None":
    if not settings.telemetry.traces:
        return None
    from tasker.observe.tracing import Tracing, set_up_otlp_export

    set_up_otlp_export(settings.telemetry.service)
    return Tracing()
