"""`tasker dev`: a worker for the one who writes handlers and templates."""

import logging
from typing import Annotated

import typer

from tasker.cli.exits import Exit
from tasker.cli.options import Environment, HandlerSources, TemplatePaths
from tasker.cli.session import Session, command


def add_to(app: typer.Typer) -> None:
    command(app, "dev", json=False, level=logging.WARNING)(dev)


async def dev(
    session: Session,
    handlers: HandlerSources,
    templates: TemplatePaths = None,
    slots: Annotated[int, typer.Option(min=1, metavar="N", help="Steps run at once.")] = 100,
    environment: Environment = None,
) -> Exit:
    """Run a worker that takes up every change of handlers and templates.

    Shows what the steps do, line by line. A changed template replaces its version: tasks
    that exist keep the one that they began with. What cannot be loaded is told, and the
    handlers from before go on.
    """
    from tasker.cli.developing import Development
    from tasker.config import WorkerSettings

    settings = WorkerSettings(slots=slots, environment=environment)
    async with session.store(make=True) as store:
        await Development(session, store, handlers, templates or (), settings).run()
    return Exit.DONE
