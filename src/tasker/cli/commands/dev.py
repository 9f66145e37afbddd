"""`tasker dev`: a worker that reloads changed handlers and templates."""

import asyncio
import importlib.util
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tasker.cli.app import Invocation, register_command
from tasker.cli.exits import ExitCode, print_error, print_problems, relative_path
from tasker.cli.loading import LOOPBACK, LoadedSources, handle_signals, load_sources
from tasker.cli.options import Environment, HandlerSources, TemplatePaths
from tasker.cli.render.progress import PROGRESS_EVENTS, TaskProgressDisplay
from tasker.engine import Worker
from tasker.errors import InvalidSettings, TaskerError
from tasker.handlers import find_inputs_named_like_steps, find_template_problems
from tasker.handlers.gathering import split_namespace
from tasker.handlers.importing import is_path_source
from tasker.plurals import format_count
from tasker.settings import ServerSettings, WorkerSettings
from tasker.store.protocol import Store

app = typer.Typer(add_completion=False)


@register_command(app, "dev", json=False, level=logging.WARNING, hidden=PROGRESS_EVENTS)
async def run_dev_worker(
    invocation: Invocation,
    handlers: HandlerSources,
    templates: TemplatePaths = None,
    slots: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Maximum number of steps that run at the same time."),
    ] = 100,
    environment: Environment = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the web UI; default: 3000 if it is free, otherwise any free port.",
        ),
    ] = None,
    ui: Annotated[
        bool, typer.Option("--ui/--no-ui", help="Serve the web UI and the API on localhost.")
    ] = True,
) -> ExitCode:
    """Run a worker that reloads changed handlers and templates, and serve the web UI.

    The command prints one line per event. A changed template replaces the registered version,
    but existing tasks keep the content that they started with. If loading fails, the command
    prints the error and continues with the last handlers and templates that could be loaded.
    """
    settings = WorkerSettings(slots=slots, environment=environment)
    async with invocation.open_store(create=True) as store, AsyncExitStack() as stack:
        if ui:
            url = await stack.enter_async_context(_serve_ui(store, port))
            invocation.stdout_console.print(f"web UI: {url}/ui/", style="green", soft_wrap=True)
        await ReloadingWorker(invocation, store, handlers, templates or (), settings).run()
    return ExitCode.DONE


@asynccontextmanager
async def _serve_ui(store: Store, port: int | None) -> AsyncIterator[str]:
    """Serve the web UI and the API to this machine; yield the address."""
    from tasker.api import create_app
    from tasker.api.server import choose_development_port, run_server
    from tasker.web import add_web_ui

    settings = ServerSettings(port=choose_development_port() if port is None else port)
    app = create_app(store, settings=settings, local_only=True)
    add_web_ui(app, settings)
    async with run_server(app, settings) as server:
        yield server.url.replace("127.0.0.1", "localhost")


_GRACE = timedelta(seconds=3)  #: grace period of running steps when handlers are reloaded
_SUFFIXES = (".py", ".yaml", ".yml")
_SKIPPED = ("__pycache__", ".git", ".venv", "node_modules")


class ReloadingWorker:
    """Loads handlers and templates, runs a worker, and restarts it after each change.

    Args:
        invocation: The invocation, with its consoles.
        store: The store to claim from.
        sources: Sources of handlers.
        paths: Paths of templates.
        settings: Settings of the worker.
    """

    def __init__(
        self,
        invocation: Invocation,
        store: Store,
        sources: Sequence[str],
        paths: Sequence[Path],
        settings: WorkerSettings,
    ) -> None:
        self._out, self._err = invocation.stdout_console, invocation.stderr_console
        self._store = store
        self._sources = sources
        self._paths = paths
        self._settings = settings.model_copy(update={"grace": _GRACE})
        self._progress = TaskProgressDisplay(self._out, everything=True, live=False)
        self._stopping = asyncio.Event()
        self._changed: asyncio.Queue[set[Path]] = asyncio.Queue()
        self._worker: Worker | None = None

    async def run(self) -> None:
        """Run until a signal arrives. Raises InvalidSettings if watchfiles is not installed."""
        self._awatch = _import_watchfiles()
        with handle_signals(self._on_signal), self._progress:
            loaded = self._load_sources(reload=False)
            while not self._stopping.is_set():
                async with self._record_file_changes(loaded), self._run_worker(loaded):
                    loaded = await self._wait_for_change_and_reload(loaded)

    def _on_signal(self, which: signal.Signals, count: int) -> None:
        self._stopping.set()
        if count > 1 and self._worker is not None:
            self._worker.stop(timedelta(0))

    # ------------------------------------------------------------------- loading

    def _load_sources(self, *, reload: bool) -> LoadedSources | None:
        """Load handlers and templates; on failure, print the reason and return None."""
        self._modification_times = _modification_times(self._folders_to_watch(None))
        try:
            loaded = load_sources(self._sources, self._paths, reload=reload)
        except TaskerError as error:
            print_error(self._err, error)
            return None
        for template in loaded.templates:
            self._progress.add_template(template)
            problems = find_template_problems(template, loaded.handlers)
            problems += find_inputs_named_like_steps(template, loaded.handlers)
            print_problems(
                self._err, problems, of=template.full_name, kind="warning", style="yellow"
            )
        return loaded

    async def _wait_for_change_and_reload(
        self, before: LoadedSources | None
    ) -> LoadedSources | None:
        """Wait for a change that can be loaded, or for shutdown."""
        while True:
            changed = await self._wait_for_changed_files()
            if not changed:
                return before
            names = ", ".join(sorted(relative_path(str(path)) for path in changed)[:5])
            self._out.print(f"changed: {names}", style="cyan", soft_wrap=True)
            loaded = self._load_sources(reload=True)
            if loaded is not None:
                return loaded
            if self._worker is not None:
                self._err.print("still running the previous handlers and templates", style="dim")

    async def _wait_for_changed_files(self) -> set[Path]:
        """Wait for changed files and return them, or an empty set on shutdown."""
        stopping = asyncio.create_task(self._stopping.wait())
        change = asyncio.create_task(self._changed.get())
        duties = {self._watch_task}
        if self._worker is not None:
            duties.add(asyncio.create_task(self._worker.wait_until_ended()))
        done, waiting = await asyncio.wait(
            {stopping, change, *duties}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting - {self._watch_task}:
            task.cancel()
        for task in done:
            task.result()  # raises the error of a failed background task
        return change.result() if change in done and stopping not in done else set()

    # ------------------------------------------------------------------- working

    @asynccontextmanager
    async def _run_worker(self, loaded: LoadedSources | None) -> AsyncIterator[None]:
        """Run a worker while the block runs, unless there is nothing to run."""
        async with AsyncExitStack() as stack:
            if loaded is not None:
                try:
                    worker = Worker(
                        self._store,
                        [loaded.handlers],
                        templates=loaded.templates,
                        settings=self._settings.model_copy(
                            update={"http": loaded.has_http_steps, "http_networks": LOOPBACK}
                        ),
                        observers=[self._progress.observe],
                        replace=True,
                    )
                    await stack.enter_async_context(worker)
                except TaskerError as error:
                    print_error(self._err, error)
                else:
                    self._worker = worker
                    self._print_ready(loaded)
            yield
        self._worker = None

    def _print_ready(self, loaded: LoadedSources) -> None:
        names = ", ".join(sorted(template.full_name for template in loaded.templates)[:5])
        self._out.print(
            f"ready: {format_count('handler', len(loaded.handlers))},"
            f" {format_count('template', len(loaded.templates))}{f' ({names})' if names else ''},"
            f" store {self._store.url}; press Ctrl-C to stop",
            style="green",
            soft_wrap=True,
        )

    # ------------------------------------------------------------------ watching

    @asynccontextmanager
    async def _record_file_changes(self, loaded: LoadedSources | None) -> AsyncIterator[None]:
        """Record file changes while the block runs, and those since the files were loaded."""
        self._watch_task = asyncio.create_task(
            self._watch_folders(sorted(set(self._folders_to_watch(loaded))))
        )
        await asyncio.sleep(0)  # watching begins at the generator's first step
        now = _modification_times(self._folders_to_watch(None))
        if missed := {path for path, _ in self._modification_times.items() ^ now.items()}:
            self._changed.put_nowait(missed)
        try:
            yield
        finally:
            self._watch_task.cancel()
            await asyncio.wait([self._watch_task])

    async def _watch_folders(self, folders: Sequence[Path]) -> None:
        async for changes in self._awatch(*folders, recursive=False):
            paths = {Path(path) for _, path in changes}
            if wanted := {path for path in paths if path.suffix in _SUFFIXES}:
                await self._changed.put(wanted)

    def _folders_to_watch(self, loaded: LoadedSources | None) -> Iterator[Path]:
        """Return the directories to watch, each non-recursively."""
        for source in self._sources:
            yield from _source_folders(source)
        for file in loaded.handlers.watched_files() if loaded is not None else ():
            yield file.parent
        for path in self._paths:
            yield from _folder_and_subfolders(path) if path.is_dir() else [path.resolve().parent]


def _source_folders(source: str) -> Iterator[Path]:
    """Return the directories of a handler source, whether or not it can be imported."""
    place = str(split_namespace(source)[1])
    if is_path_source(place):
        path = Path(place).resolve()
        yield from _folder_and_subfolders(path) if path.is_dir() else [path.parent]
        return
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(place.partition(".")[0])
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent


def _folder_and_subfolders(folder: Path) -> Iterator[Path]:
    """Return a directory and all of its subdirectories."""
    yield folder.resolve()
    for path in folder.rglob("*"):
        if path.is_dir() and not set(_SKIPPED) & set(path.parts):
            yield path.resolve()


def _modification_times(folders: Iterable[Path]) -> dict[Path, int]:
    """Return the modification time of each file in the directories."""
    stamps = {}
    for folder in set(folders):
        for path in folder.glob("*"):
            if path.suffix in _SUFFIXES:
                with suppress(OSError):
                    stamps[path] = path.stat().st_mtime_ns
    return stamps


def _import_watchfiles() -> Callable[..., AsyncIterator[Any]]:
    try:
        from watchfiles import awatch
    except ModuleNotFoundError:
        raise InvalidSettings(
            "tasker dev needs the package watchfiles: pip install 'tasker-workflows[dev]'"
        ) from None
    return awatch
