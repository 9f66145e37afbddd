"""What every command has: where the store is, where output goes, and how it ends.

A command is a function whose first parameter is a `Session`; `command` adds the options
that make one. It may be async, and may return its exit code.
"""

import gc
import inspect
import logging
import os
import tomllib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tasker.cli.exits import StoreMissing, report_errors
from tasker.errors import InvalidSettings

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from rich.console import Console

    from tasker.client import Client, LocalClient
    from tasker.store.protocol import Store

Function = TypeVar("Function", bound=Callable[..., Any])

_PANEL = "Common options"
_YOUNG = 10_000
"""Objects made before Python looks for cycles; its own 700 cost a worker a tenth of its time."""


class Format(StrEnum):
    """How log records are written: for people, or a JSON object per line."""

    CONSOLE = "console"
    JSON = "json"


StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--server",
        envvar=["TASKER_STORE", "TASKER_URL"],
        metavar="URL",
        show_default="what tasker.toml says, or sqlite",
        help="sqlite (the file .tasker/tasker.db), sqlite:FILE, postgresql://..., or the"
        " http://... of a server.",
        rich_help_panel=_PANEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=_PANEL),
]
NoColor = Annotated[
    bool,
    typer.Option(
        "--no-color", help="No colours; NO_COLOR=1 says the same.", rich_help_panel=_PANEL
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        metavar="",
        help="More log records on stderr; -vv for all.",
        rich_help_panel=_PANEL,
    ),
]
LogFormat = Annotated[
    Format,
    typer.Option(
        "--log-format",
        envvar="TASKER_LOG_FORMAT",
        help="How log records are written.",
        rich_help_panel=_PANEL,
    ),
]


class Session:
    """One run of a command.

    Args:
        store_url: Of the store.
        as_json: Whether stdout gets one JSON document.
        no_color: Whether colours are off, whatever the terminal can do.
    """

    def __init__(
        self, *, store_url: str = "sqlite", as_json: bool = False, no_color: bool = False
    ) -> None:
        self.store_url = store_url
        self.as_json = as_json
        self._no_color = no_color

    @cached_property
    def out(self) -> "Console":
        """Stdout: what was asked for."""
        return _console(stderr=False, no_color=self._no_color)

    @cached_property
    def err(self) -> "Console":
        """Stderr: errors, hints, and progress where stdout is for programs."""
        return _console(stderr=True, no_color=self._no_color)

    @property
    def told(self) -> "Console":
        """Where people read: stdout, but stderr where stdout is for programs."""
        return self.err if self.as_json else self.out

    def document(self, value: object) -> None:
        """Print the one JSON document."""
        from tasker.cli.output import write_document

        write_document(value)

    @asynccontextmanager
    async def store(self, *, make: bool = False) -> AsyncIterator["Store"]:
        """Open the store.

        Args:
            make: Whether a SQLite file that is not there is made; else that is an error,
                since reading from an empty store is hardly what was meant.
        """
        from tasker.store.open import open_store

        if self.asks_server:
            raise InvalidSettings(
                f"this command works on a store itself; {self.store_url} is a server"
            )
        if not make:
            require_there(self.store_url)
        async with open_store(self.store_url) as store:
            yield store

    @property
    def asks_server(self) -> bool:
        """Whether a server is asked, rather than a store."""
        return self.store_url.startswith(("http://", "https://"))

    @asynccontextmanager
    async def client(
        self, *, make: bool = False, actor: str | None = None
    ) -> AsyncIterator["Client"]:
        """Open the store for a client, or connect to the server.

        Args:
            make: See `store`.
            actor: Who acts; None: TASKER_ACTOR, or this machine's user. A server knows
                who asks by TASKER_API_KEY or TASKER_TOKEN.
        """
        if not self.asks_server:
            async with self.local(make=make, actor=actor) as local:
                yield local
            return
        if actor is not None:
            raise InvalidSettings("a server knows by itself who acts: leave --actor out")
        from tasker.client import connect

        key, token = os.environ.get("TASKER_API_KEY"), os.environ.get("TASKER_TOKEN")
        async with connect(self.store_url, api_key=key, token=token, retries=2) as client:
            yield client

    @asynccontextmanager
    async def local(
        self, *, make: bool = False, actor: str | None = None
    ) -> AsyncIterator["LocalClient"]:
        """Open the store for a client, for what no server does for others; see `client`."""
        from tasker.client import LocalClient

        async with self.store(make=make) as store:
            yield LocalClient(store, actor=actor or os.environ.get("TASKER_ACTOR"))


def command(
    app: typer.Typer,
    name: str,
    *,
    store: str | None = "sqlite",
    json: bool = True,
    level: int = logging.WARNING,
    fast: bool = False,
    **more: Any,
) -> Callable[[Function], Function]:
    """Make a function a command of `app`.

    Args:
        app: What it is a command of.
        name: Its name.
        store: The default of `--store`; None: it takes none.
        json: Whether it takes `--json`.
        level: The level of log records without `-v`.
        fast: Whether it runs for speed: on uvloop where that is installed, for one.
        more: For `Typer.command`.
    """
    common: dict[str, tuple[Any, Any]] = {
        **({"store_url": (StoreUrl, None)} if store else {}),
        **({"as_json": (Json, False)} if json else {}),
        "no_color": (NoColor, False),
        "verbose": (Verbose, 0),
        "log_format": (LogFormat, Format.CONSOLE),
    }

    def decorate(function: Function) -> Function:
        def run(**given: Any) -> None:
            verbose, log_format = given.pop("verbose"), given.pop("log_format")
            chosen = {key: given.pop(key) for key in common if key in given}
            session = Session(**{key: value for key, value in chosen.items() if value is not None})
            _set_up_logs(session, log_format, max(level - 10 * verbose, logging.DEBUG))
            with report_errors(session.err):
                if store is not None and chosen.get("store_url") is None:
                    session.store_url = _store_of_file() or store
                done = function(session, **given)
                if inspect.iscoroutine(done):
                    done = _finished(done, fast=fast)
                if done:
                    raise typer.Exit(done)

        own = inspect.signature(function, eval_str=True).parameters.values()
        added = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for key, (annotation, default) in common.items()
        ]
        taken = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own
            if parameter.name != "session"
        ]
        run.__signature__ = inspect.Signature([*taken, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*taken, *added]}
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        app.command(name, **more)(run)
        return function

    return decorate


def _store_of_file() -> str | None:
    """Tell the store that the settings file names, which server and workers obey as well."""
    path = Path(os.environ.get("TASKER_CONFIG") or "tasker.toml")
    if not path.exists():
        return None
    try:
        found = tomllib.loads(path.read_text("utf-8")).get("store")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {error}") from None
    if found is not None and not isinstance(found, str):
        raise InvalidSettings(f"{path}: store must be a URL in quotes, not {found!r}")
    return found


def _finished(work: Coroutine[Any, Any, Any], *, fast: bool) -> Any:
    """Run a coroutine to its end."""
    import asyncio

    if fast:
        gc.set_threshold(_YOUNG)
    with asyncio.Runner(loop_factory=_fast_loop() if fast else None) as runner:
        return runner.run(work)


def _fast_loop() -> "Callable[[], AbstractEventLoop] | None":
    """Tell what makes loops of uvloop, an extra; asyncio's own do as well."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def _set_up_logs(session: Session, log_format: Format, level: int) -> None:
    from tasker.cli import logs

    colours = session.err.is_terminal and not session.err.no_color
    logs.set_up(level, as_json=log_format is Format.JSON, colours=colours)


def _console(*, stderr: bool, no_color: bool) -> "Console":
    from tasker.cli.style import console_for

    return console_for(stderr=stderr, no_color=no_color)


def require_there(url: str) -> None:
    """Raise StoreMissing where a SQLite store is not there."""
    if not url.startswith("sqlite"):
        return
    from tasker.store.sqlite.address import Address

    address = Address.parse(url)
    if address.path is not None and not address.path.exists():
        raise StoreMissing(
            f"there is no store at {address.path}: `tasker run`, `tasker worker`, `tasker dev` and"
            " `tasker db upgrade` make one; --store or TASKER_STORE name another"
        )
