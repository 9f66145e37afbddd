"""Warnings about namespaces that a command names although nothing is in them."""

from collections.abc import Iterable
from contextlib import suppress

from tasker.cli.app import Invocation
from tasker.client import Client
from tasker.errors import Rejected
from tasker.suggest import did_you_mean
from tasker.teams.model import ALL_NAMESPACES

_MOST = 10  #: namespaces that a message lists


async def list_known_namespaces(client: Client) -> list[str]:
    """Return the namespaces with a policy or a template; none if the caller may not list them."""
    with suppress(Rejected):
        return [
            one.name
            for one in await client.namespaces()
            if one.policy or one.approved or one.pending_review or one.rejected or one.retired
        ]
    return []


async def warn_of_unknown_namespaces(
    invocation: Invocation, client: Client, names: Iterable[str]
) -> None:
    """Print a warning for each namespace that has neither a policy nor a template.

    Nothing is printed if no namespace has one: they may follow.
    """
    known = await list_known_namespaces(client)
    for name in names if known else ():
        if name not in (*known, ALL_NAMESPACES):
            invocation.stderr_console.print(
                f"warning: namespace {name!r} has neither a policy nor a template"
                f"{did_you_mean(name, known) or '.'} Known: {join_names_shortened(known)}.",
                style="yellow",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )


def join_names_shortened(names: list[str]) -> str:
    """Return the first of some names, and the number of the others."""
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")
