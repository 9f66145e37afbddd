"""The options, output and exit codes that all commands share.

A command is a function whose first parameter is an `Invocation`; `register_command` adds the
options from which that is created. A command may be async, and may return its exit code.
"""

import asyncio
import gc
import inspect
import logging
import os
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, TypeVar, cast

import typer
from rich.console import Console

from tasker.cli import logs
from tasker.cli.exits import StoreFileMissing, print_errors_and_exit
from tasker.cli.render.json import write_json_document
from tasker.cli.render.style import make_console
from tasker.client import Client, LocalClient, connect
from tasker.client.masking import MaskingClient, SensitiveDataFinder
from tasker.errors import InvalidSettings
from tasker.model import AccessChannel
from tasker.settings import configured_store_url
from tasker.store.open import open_store
from tasker.store.protocol import Store

Function = TypeVar("Function", bound=Callable[..., Any])

_PANEL = "Common options"
_GC_THRESHOLD = 10_000
"""Number of new objects that triggers a garbage collection. With Python's default of 700, a worker
spends a tenth of its time on garbage collection."""


class LogStyle(StrEnum):
    """Format of log records: for people, or one JSON object per line."""

    CONSOLE = "console"
    JSON = "json"


StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--server",
        envvar=["TASKER_STORE", "TASKER_URL"],
        metavar="URL",
        show_default="store in a secret file or tasker.toml, else sqlite",
        help="sqlite (the file .tasker/tasker.db), sqlite:FILE, postgresql://..., or a"
        " server's http://...",
        rich_help_panel=_PANEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=_PANEL),
]
Actor = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        show_default="TASKER_ACTOR, else the current user of this machine",
        help="Actor to record in the audit log and in approvals. A server records the name"
        " of the key or token, followed by this name.",
        rich_help_panel=_PANEL,
    ),
]
NoColor = Annotated[
    bool,
    typer.Option(
        "--no-color", help="Print without colours, like NO_COLOR=1.", rich_help_panel=_PANEL
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
        help="Print more log records on stderr; -vv prints all.",
        rich_help_panel=_PANEL,
    ),
]
LogFormat = Annotated[
    LogStyle,
    typer.Option(
        "--log-format",
        envvar="TASKER_LOG_FORMAT",
        help="Format of log records.",
        rich_help_panel=_PANEL,
    ),
]


class Invocation:
    """One run of a command.

    Args:
        store_url: URL of the store or the server.
        as_json: Whether stdout receives a single JSON document.
        no_color: Whether colours are disabled even if the terminal supports them.
        actor: Name for the audit log; None means TASKER_ACTOR or, without it, the current user.
    """

    def __init__(
        self,
        *,
        store_url: str = "sqlite",
        as_json: bool = False,
        no_color: bool = False,
        actor: str | None = None,
    ) -> None:
        self.store_url = store_url
        self.as_json = as_json
        self._no_color = no_color
        self._actor = actor
        self.via = AccessChannel.CLI

    @cached_property
    def stdout_console(self) -> Console:
        """The console on stdout, for output."""
        return make_console(stderr=False, no_color=self._no_color)

    @cached_property
    def stderr_console(self) -> Console:
        """The console on stderr, for errors and hints."""
        return make_console(stderr=True, no_color=self._no_color)

    @property
    def text_console(self) -> Console:
        """The console for people: stdout, or stderr if stdout receives a JSON document."""
        return self.stderr_console if self.as_json else self.stdout_console

    def print_json(self, value: object) -> None:
        """Print the JSON document of a command."""
        write_json_document(value)

    @asynccontextmanager
    async def open_store(self, *, create: bool = False) -> AsyncIterator[Store]:
        """Open the store.

        Args:
            create: Whether a missing SQLite file is created. Otherwise it is an error, because
                a command that needs stored data cannot succeed on an empty store.

        Raises:
            InvalidSettings: The URL is a server's.
            StoreFileMissing: The SQLite file does not exist.
        """
        if self.is_remote:
            raise InvalidSettings(
                f"this command needs the URL of a store, but {self.store_url} is a server"
            )
        if not create:
            require_existing_store(self.store_url)
        async with open_store(self.store_url) as store:
            yield store

    @property
    def actor(self) -> str | None:
        """Name for the audit log: `--as` or TASKER_ACTOR; None means the current user."""
        return self._actor or os.environ.get("TASKER_ACTOR")

    @property
    def is_remote(self) -> bool:
        """Whether the URL is a server's."""
        return self.store_url.startswith(("http://", "https://"))

    @asynccontextmanager
    async def open_client(
        self, *, create: bool = False, operates: bool = False
    ) -> AsyncIterator[Client]:
        """Open a client of the store or of the server.

        TASKER_API_KEY or TASKER_TOKEN authenticates the caller to a server.

        Args:
            create: See `open_store`.
            operates: Whether the client only acts on tasks, the case in which a server accepts
                `--as`.

        Raises:
            InvalidSettings: `--as` was given for an action for which a server does not accept it.
        """
        if not self.is_remote:
            async with self.open_local_client(create=create) as local:
                sensitive = SensitiveDataFinder(local.store, local.template_cache)
                yield cast(Client, MaskingClient(local, sensitive))
            return
        if self._actor is not None and not operates:
            raise InvalidSettings(
                "a server records the API key or token as the actor of this command: omit --as"
            )
        acting_as = self.actor if operates else None
        if acting_as is not None and not acting_as.isascii():
            raise InvalidSettings(f"--as {acting_as!r}: a server accepts only ASCII names")
        key, token = os.environ.get("TASKER_API_KEY"), os.environ.get("TASKER_TOKEN")
        async with connect(
            self.store_url, api_key=key, token=token, acting_as=acting_as, via=self.via, retries=2
        ) as client:
            yield client

    @asynccontextmanager
    async def open_local_client(self, *, create: bool = False) -> AsyncIterator[LocalClient]:
        """Open a client of the store; see `open_client`."""
        async with self.open_store(create=create) as store:
            yield LocalClient(store, actor=self.actor, via=self.via)


def make_command_group(description: str) -> typer.Typer:
    """Create a group of commands."""
    app = typer.Typer(help=description, no_args_is_help=True, add_completion=False)
    app.callback(help=description)(lambda: None)  # keeps the app a group even with a single command
    return app


def register_command(
    app: typer.Typer,
    name: str,
    *,
    store: str | None = "sqlite",
    json: bool = True,
    acts: bool = False,
    level: int = logging.WARNING,
    fast: bool = False,
    hidden: Collection[str] = (),
    is_group: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as a command of `app`.

    Args:
        app: The application or group.
        name: The command's name.
        store: The default of `--store`, or None for a command without that option.
        json: Whether the command has the option `--json`.
        acts: Whether the command makes audited changes, and so has the option `--as`.
        level: The log level without `-v`.
        fast: Whether the command runs on uvloop, if installed.
        hidden: Log events that the command displays in another form; the console omits them without
            `-v`.
        is_group: Whether the other commands of `app` are below this one.
    """
    common: dict[str, tuple[Any, Any]] = {
        **({"store_url": (StoreUrl, None)} if store else {}),
        **({"actor": (Actor, None)} if acts else {}),
        **({"as_json": (Json, False)} if json else {}),
        "no_color": (NoColor, False),
        "verbose": (Verbose, 0),
        "log_format": (LogFormat, LogStyle.CONSOLE),
    }

    def register_function(function: Function) -> Function:
        def run_command(**given: Any) -> None:
            verbose, log_format = given.pop("verbose"), given.pop("log_format")
            chosen = {key: given.pop(key) for key in common if key in given}
            invocation = Invocation(
                **{key: value for key, value in chosen.items() if value is not None}
            )
            colours = (
                invocation.stderr_console.is_terminal and not invocation.stderr_console.no_color
            )
            log_level = max(level - 10 * verbose, logging.DEBUG)
            as_json = log_format is LogStyle.JSON
            shown = as_json or verbose
            logs.set_up_logging(
                log_level, as_json=as_json, colours=colours, hidden=() if shown else hidden
            )
            with print_errors_and_exit(invocation.stderr_console):
                if store is not None and chosen.get("store_url") is None:
                    invocation.store_url = configured_store_url() or store
                result = function(invocation, **given)
                code = _run_coroutine(result, fast=fast) if inspect.iscoroutine(result) else result
                if code:
                    raise typer.Exit(code)

        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.name != "invocation"
        ]
        added = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for key, (annotation, default) in common.items()
        ]
        run_command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
        run_command.__annotations__ = {one.name: one.annotation for one in [*own, *added]}
        run_command.__name__, run_command.__doc__ = (
            function.__name__,
            _unwrap_paragraphs(function.__doc__),
        )
        (app.callback(invoke_without_command=True) if is_group else app.command(name))(run_command)
        return function

    return register_function


def _unwrap_paragraphs(docstring: str | None) -> str:
    """Return a docstring with each paragraph on one line; the terminal wraps the lines."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _run_coroutine(work: Coroutine[Any, Any, Any], *, fast: bool) -> Any:
    """Run a coroutine until it completes."""
    if fast:
        gc.set_threshold(_GC_THRESHOLD)
    with asyncio.Runner(loop_factory=_uvloop_factory() if fast else None) as runner:
        return runner.run(work)


def _uvloop_factory() -> Callable[[], AbstractEventLoop] | None:
    """Return uvloop's event loop factory, or None if it is not installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def require_existing_store(url: str) -> None:
    """Raise StoreFileMissing if the file of a SQLite store does not exist."""
    if not url.startswith("sqlite"):
        return
    from tasker.store.sqlite.address import Address  # with the driver, which others do not need

    path = Address.parse(url).path
    if path is not None and not path.exists():
        raise StoreFileMissing(
            f"no store at {path}: create one with `tasker run`, `tasker worker`, `tasker dev` or"
            " `tasker db upgrade`, or name another with --store or TASKER_STORE"
        )
