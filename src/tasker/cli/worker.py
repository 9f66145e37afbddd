"""`tasker worker`: runs steps until it is told to stop."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker.cli.exits import Exit
from tasker.cli.options import Environment, HandlerSources, TemplatePaths, parse_span
from tasker.cli.session import Session, command


def add_to(app: typer.Typer) -> None:
    command(app, "worker", json=False, level=logging.INFO, fast=True)(worker)


def worker(
    session: Session,
    handlers: HandlerSources,
    templates: TemplatePaths = None,
    slots: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps that each process runs at once.")
    ] = 100,
    processes: Annotated[
        int,
        typer.Option("--processes", "-p", min=1, max=256, metavar="N", help="Worker processes."),
    ] = 1,
    grace: Annotated[
        Any,
        typer.Option(
            parser=parse_span, metavar="TIME", help="What running steps get to finish at shutdown."
        ),
    ] = "20s",
    lease: Annotated[
        Any,
        typer.Option(
            parser=parse_span,
            metavar="TIME",
            help="How long a worker that died keeps its steps from others.",
        ),
    ] = "30s",
    environment: Environment = None,
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
    if processes > 1:
        import asyncio

        from tasker.cli.supervise import supervise

        return asyncio.run(supervise(processes, _one_of_several()))
    return _work(
        session,
        (handlers, templates or ()),
        {"slots": slots, "grace": grace, "lease": lease, "environment": environment},
        name=name,
        replace=replace,
        supervisor=supervisor,
    )


async def _work(
    session: Session,
    sources: tuple[Sequence[str], Sequence[Path]],
    settings: Mapping[str, Any],
    **options: Any,
) -> Exit:
    from tasker.cli.serving import load
    from tasker.cli.working import work
    from tasker.config import WorkerSettings

    loaded, chosen = load(*sources), WorkerSettings(**settings)
    async with session.store(make=True) as store:
        await work(store, loaded, chosen, **options)
    return Exit.DONE


def _one_of_several() -> list[str]:
    """Tell the command of one of several processes: this one, but for itself."""
    return [sys.executable, "-P", "-m", "tasker", *sys.argv[1:], "--processes", "1"]
