"""`tasker worker`: runs steps until it is told to stop."""

import logging
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasker.cli.configured import ConfigFile, Store, configured, set_up_logs
from tasker.cli.exits import Exit
from tasker.cli.options import Environment, TemplatePaths, parse_span
from tasker.cli.session import Session, command

if TYPE_CHECKING:
    from tasker.configuration import Settings


def add_to(app: typer.Typer) -> None:
    command(app, "worker", store=None, json=False, level=logging.INFO, fast=True)(worker)


def worker(
    session: Session,
    context: typer.Context,
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            "-H",
            metavar="MODULE|FILE|DIR",
            help="Where handlers and workflows are: a module's name, a file, a directory."
            " Repeatable.",
        ),
    ] = None,
    templates: TemplatePaths = None,
    config: ConfigFile = None,
    store: Store = None,
    slots: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Steps that each process runs at once; default: 100."
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--processes", "-p", min=1, max=256, metavar="N", help="Worker processes."),
    ] = 1,
    grace: Annotated[
        Any,
        typer.Option(
            parser=parse_span,
            metavar="TIME",
            help="What running steps get to finish at shutdown; default: 20s.",
        ),
    ] = None,
    lease: Annotated[
        Any,
        typer.Option(
            parser=parse_span,
            metavar="TIME",
            help="How long a worker that died keeps its steps from others; default: 30s.",
        ),
    ] = None,
    environment: Environment = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="Where it tells its metrics to Prometheus."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What operators see; default: the host."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            metavar="",
            help="Replace versions that differ; for development.",
        ),
    ] = False,
    supervisor: Annotated[int | None, typer.Option("--supervisor-fd", hidden=True)] = None,
) -> Any:
    """Run steps of all tasks that the handlers can run, until SIGTERM or SIGINT.

    Templates are registered at the start, and each of their steps must have a handler.

    The first signal stops it gracefully: running steps get the grace time, and what is
    not finished then is handed back, to start anew elsewhere. The second signal ends it
    at once. Exit code: 0 after a stop, 2 wrong input, 3 no store.
    """
    overrides = {
        "store": store,
        "environment": environment,
        "worker": {
            "handlers": handlers or None,
            "templates": templates or None,
            "slots": slots,
            "grace": grace,
            "lease": lease,
            "metrics": metrics,
        },
    }
    settings = configured(config, overrides)
    set_up_logs(session, context, settings)
    if not settings.worker.handlers:
        raise typer.BadParameter("a worker needs handlers: name them with --handlers")
    if processes > 1:
        import asyncio

        from tasker.cli.supervise import supervise

        return asyncio.run(supervise(processes, _one_of_several()))
    return _work(settings, name=name, replace=replace, supervisor=supervisor)


async def _work(settings: "Settings", **options: Any) -> Exit:
    from tasker.cli.serving import load
    from tasker.cli.watching import watchers
    from tasker.cli.working import work
    from tasker.store.open import open_store

    own = settings.worker
    loaded = load(own.handlers, own.templates)
    with watchers(settings) as watching:
        async with open_store(settings.store.get_secret_value()) as store:
            chosen = own.settings(settings.environment)
            await work(store, loaded, chosen, watching=watching, **options)
    return Exit.DONE


def _one_of_several() -> list[str]:
    """Tell the command of one of several processes: this one, but for itself."""
    return [sys.executable, "-P", "-m", "tasker", *sys.argv[1:], "--processes", "1"]
