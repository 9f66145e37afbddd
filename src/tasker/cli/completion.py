"""What the shell offers when a word is being completed: states, templates, tasks."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import typer

from tasker.cli.app import Session
from tasker.client import Client
from tasker.model import TaskStatus

_PATIENCE = 1.0  #: seconds that the shell waits at most

Offers = list[tuple[str, str]]
"""Words, each with what is said about it."""


def complete_status(incomplete: str) -> list[str]:
    """Offer the states of tasks."""

    return [state.value for state in TaskStatus if state.value.startswith(incomplete)]


def complete_template(context: typer.Context, incomplete: str) -> Offers:
    """Offer the templates of the store, with and without their versions."""

    async def offers(client: Client) -> Offers:
        found: dict[str, str] = {}
        for stored in await client.templates():
            template = stored.template
            found[f"{template.namespace}.{template.name}"] = template.description
            if "@" in incomplete:
                found[template.full_name] = template.description
        return list(found.items())

    return _offered(context, incomplete, offers)


def complete_task(context: typer.Context, incomplete: str) -> Offers:
    """Offer the newest tasks."""

    async def offers(client: Client) -> Offers:
        return [(task.id, f"{task.template} {task.status}") for task in await client.tasks()]

    return _offered(context, incomplete, offers)


def _offered(
    context: typer.Context,
    incomplete: str,
    offers: Callable[[Client], Awaitable[Offers]],
) -> Offers:
    """Ask the store that the command line names; offer nothing where that takes long or fails."""

    url = context.params.get("store_url") or os.environ.get("TASKER_STORE") or "sqlite"

    async def ask() -> Offers:

        async with asyncio.timeout(_PATIENCE), Session(store_url=url).client() as client:
            return await offers(client)

    try:
        found = asyncio.run(ask())
    except Exception:  # completion must not get in the way of typing
        return []
    return [offer for offer in found if offer[0].startswith(incomplete)]
