"""`tasker server`: serves the API, optionally with a worker, until a signal."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.api import create_app
from tasker.api.server import Server, is_loopback, run_server
from tasker.cli.app import Session, command
from tasker.cli.config import ConfigFile, StoreOption, load_config, set_up_logs
from tasker.cli.loading import Loaded, load, on_signals
from tasker.cli.options import Environment, Namespaces, TemplatePaths
from tasker.client import LocalClient
from tasker.engine import Worker
from tasker.errors import InvalidSettings
from tasker.settings import Settings
from tasker.store.open import open_store
from tasker.store.protocol import Store
from tasker.teams.policies import load_policies
from tasker.template import load_templates

if TYPE_CHECKING:
    from tasker.observe.tracing import Tracing


log = logging.getLogger("tasker.cli")

app = typer.Typer(add_completion=False)

_ACTOR = "tasker server"


@command(app, "server", store=None, json=False, level=logging.INFO, fast=True)
def server(
    session: Session,
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
) -> Any:
    """Serve the API until SIGTERM or SIGINT.

    The first signal stops it gracefully: it accepts no more requests, running ones get
    their grace time, and so do the steps of its worker. The second signal ends it at once.
    Exit code: 0 after a stop, 2 invalid input, 3 store unavailable.
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
    set_up_logs(session, context, settings)
    return serve(settings, insecure=insecure)


async def serve(settings: Settings, *, insecure: bool = False) -> None:
    """Serve the API until a signal, optionally with a worker.

    Args:
        settings: All settings.
        insecure: Whether unauthenticated access from other machines is allowed.

    Raises:
        InvalidSettings: Listening at the address would need `insecure`.
        StoreUnavailable: The store cannot be reached.
    """
    own, auth = settings.server, settings.auth
    if not (is_loopback(own.host) or auth.enabled or insecure):
        raise InvalidSettings(
            f"refusing to listen at {own.host} without authentication, because anyone who can reach"
            " it could do everything: set `enabled = true` in [auth], or pass --insecure if a"
            " proxy in front authenticates callers"
        )
    loaded = _load_handlers(settings)
    tracing = _make_tracing(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.store.get_secret_value()))
        await _declare(store, settings)
        worker = None if loaded is None else _make_worker(store, settings, loaded, tracing)
        app = create_app(
            store,
            settings=own,
            auth=auth,
            worker=worker,
            tracing=tracing,
            local_only=not (auth.enabled or insecure),
        )
        if worker is not None:
            await stack.enter_async_context(worker)
        server = await stack.enter_async_context(run_server(app, own))
        log.info("server_started", extra={"url": server.url, "auth": auth.enabled})
        await _until_stopped(server, worker)
    log.info("server_stopped")


async def _until_stopped(server: Server, worker: Worker | None) -> None:
    """Wait for a signal or for the end of the worker, then stop the server."""
    stopping = asyncio.Event()

    def on_signal(which: signal.Signals, count: int) -> None:
        log.info("stopping", extra={"signal": which.name, "at_once": count > 1})
        server.stop(at_once=count > 1)
        if worker is not None and count > 1:
            worker.stop(timedelta(0))
        stopping.set()

    with on_signals(on_signal):
        waits = [asyncio.create_task(stopping.wait()), asyncio.create_task(server.wait_ended())]
        if worker is not None:
            waits.append(asyncio.create_task(worker.ended()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            server.stop()
            await server.wait_ended()
        finally:
            for wait in waits:
                wait.cancel()


def _load_handlers(settings: Settings) -> Loaded | None:
    """Import the worker's handlers and read its templates, if a worker is to run."""
    if not settings.worker.embedded:
        if settings.worker.handlers:
            raise InvalidSettings("--handlers needs a worker in this process: add --with-worker")
        return None
    return load(settings.worker.handlers, settings.worker.templates, skip_broken=True)


def _make_worker(
    store: Store, settings: Settings, loaded: Loaded, tracing: "Tracing | None"
) -> Worker:
    return Worker(
        store,
        [loaded.handlers],
        templates=loaded.templates,
        namespaces=settings.worker.namespaces,
        settings=settings.worker.settings(settings.environment),
        observers=[tracing.observe] if tracing else [],
        around=tracing.around if tracing else None,
    )


async def _declare(store: Store, settings: Settings) -> None:
    """Store namespace policies, and register templates if no worker does so."""
    client = LocalClient(store, actor=_ACTOR)
    if settings.policies is not None:
        for policy in load_policies(settings.policies):
            await client.put_policy(policy, reason=f"declared by {settings.policies}")
    if not settings.worker.embedded:
        for template in load_templates(settings.worker.templates):
            await client.register(template)


def _make_tracing(settings: Settings) -> "Tracing | None":
    if not settings.telemetry.traces:
        return None
    from tasker.observe.tracing import Tracing, export

    export(settings.telemetry.service)
    return Tracing()
