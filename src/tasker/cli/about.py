"""`tasker demo` and `tasker version`: getting to know Tasker."""

import logging
from typing import Annotated

import typer

from tasker.cli.exits import Exit
from tasker.cli.session import Session, command


def add_to(app: typer.Typer) -> None:
    command(app, "demo", store=None, level=logging.ERROR, fast=True)(demo)  # it fails on purpose
    command(app, "version", store=None)(version)


async def demo(
    session: Session,
    store_url: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            help="Where its tasks are kept; TASKER_STORE is not asked, it may be in earnest.",
            rich_help_panel="Common options",
        ),
    ] = "sqlite:.tasker/demo.db",
) -> Exit:
    """Watch workflows run: refunds in two versions, a delegation, a diamond, with retries.

    Takes ten seconds, ends by itself, and can be run again and again. Exit code: 0 when
    everything came out as it should.
    """
    from tasker.cli.demo import as_json, play, tell
    from tasker.cli.output import stdout_kept

    with stdout_kept(session.as_json):
        played = await play(store_url, session.told)
    if session.as_json:
        session.document(as_json(played))
    else:
        tell(session.out, played)
    return Exit.FAILED if played.wrong else Exit.DONE


def version(session: Session) -> None:
    """Tell the version, and what is installed beside it."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    def installed(package: str) -> str | None:
        try:
            return version_of(package)
        except PackageNotFoundError:
            return None

    extras = {name: installed(name) for name in ("asyncpg", "uvloop", "pebble", "watchfiles")}
    facts = {
        "tasker": installed("tasker-workflows"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        **extras,
    }
    if session.as_json:
        session.document(facts)
        return
    for name, value in facts.items():
        session.out.print(f"{name} {value or '(not installed)'}")
