"""Shell completion of statuses, templates and tasks."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import typer

from tasker.cli.app import Invocation
from tasker.client import Client
from tasker.model import TaskStatus

_PATIENCE = 1.0  #: seconds for which the shell waits

Completions = list[tuple[str, str]]
"""Suggested words, each with its description."""


def suggest_statuses(incomplete: str) -> list[str]:
    """Offer the statuses of tasks."""
    return [state.value for state in TaskStatus if state.value.startswith(incomplete)]


def suggest_templates(context: typer.Context, incomplete: str) -> Completions:
    """Offer the templates of the store, with and without their versions."""

    async def list_template_names(client: Client) -> Completions:
        names: dict[str, str] = {}
        for stored in await client.templates():
            template = stored.template
            names[f"{template.namespace}.{template.name}"] = template.description
            if "@" in incomplete:
                names[template.full_name] = template.description
        return list(names.items())

    return _fetch_matching_completions(context, incomplete, list_template_names)


def suggest_task_ids(context: typer.Context, incomplete: str) -> Completions:
    """Offer the newest tasks."""

    async def list_task_ids(client: Client) -> Completions:
        return [(task.id, f"{task.template} {task.status}") for task in await client.tasks()]

    return _fetch_matching_completions(context, incomplete, list_task_ids)


def _fetch_matching_completions(
    context: typer.Context,
    incomplete: str,
    offers: Callable[[Client], Awaitable[Completions]],
) -> Completions:
    """Return the completions that start with the word, or none if the store is slow or fails."""
    url = context.params.get("store_url") or os.environ.get("TASKER_STORE") or "sqlite"

    async def fetch_completions() -> Completions:

        async with asyncio.timeout(_PATIENCE), Invocation(store_url=url).open_client() as client:
            return await offers(client)

    try:
        candidates = asyncio.run(fetch_completions())
    except Exception:  # completion must not get in the way of typing
        return []
    return [offer for offer in candidates if offer[0].startswith(incomplete)]
