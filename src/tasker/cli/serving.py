"""What commands with a worker in their process share: loading, and signals."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tasker.errors import HandlerNotFound, InvalidInput
from tasker.handlers import Handlers
from tasker.model import Template
from tasker.template import load_template, load_templates

_SUFFIXES = (".yaml", ".yml", ".json")
_BLOCKED = 0.5  #: seconds after which a loop that has not told of a signal is taken to stand still


class Loaded(NamedTuple):
    """Handlers and templates from the command line."""

    handlers: Handlers
    templates: list[Template]  #: those of files, and those of workflows among the handlers


def load(sources: Iterable[str], paths: Iterable[Path], *, reload: bool = False) -> Loaded:
    """Import handlers and read templates.

    Args:
        sources: Of handlers: see `Handlers.of`.
        paths: Of templates: files and directories.
        reload: Whether modules are imported anew.

    Raises:
        HandlerImportError: A module cannot be imported.
        InvalidTemplate: With everything that is wrong.
    """
    handlers = Handlers.of(*sources, reload=reload)
    templates = [*load_templates(paths), *handlers.templates()]
    return Loaded(handlers, list({template.key: template for template in templates}.values()))


def is_file(reference: str) -> bool:
    """Whether a template is given as a file rather than by its name."""
    return reference.endswith(_SUFFIXES) or "/" in reference or Path(reference).is_file()


def named(reference: str) -> tuple[str, list[Path]]:
    """Tell the name of a template that is given by name or file, and the file to read.

    Raises:
        InvalidTemplate: The file is none, is wrong, or holds several templates.
    """
    if not is_file(reference):
        return reference, []
    path = Path(reference)
    return load_template(path).full_name, [path]


def require_handlers(template: Template, handlers: Handlers) -> None:
    """Raise HandlerNotFound unless every step of a template has a handler."""
    for spec in template.steps:
        if handlers.find(spec.handler, template.namespace) is None:
            missing = handlers.missing(spec.handler, template.namespace)
            raise HandlerNotFound(f"{template.full_name}, step {spec.name}: {missing}")


@contextmanager
def explain_context(template: str) -> Iterator[None]:
    """Say of a context that does not fit which template it does not fit."""
    try:
        yield
    except InvalidInput as error:
        told = f"the context does not fit {template}: {error}"
        raise InvalidInput(told, path=error.path) from None


@contextmanager
def on_signals(told: Callable[[signal.Signals, int], None]) -> Iterator[None]:
    """Call `told` with each SIGINT and SIGTERM, and its number from 1, while the block runs.

    Where a handler holds up the loop, which then tells of none, a later one ends the process.
    """
    loop = asyncio.get_running_loop()
    count = 0
    unheard: float | None = None  #: when a signal came that the loop has not told of yet

    def arrived(which: signal.Signals) -> None:
        nonlocal count, unheard
        count += 1
        unheard = None
        told(which, count)

    def came(number: int, _frame: object) -> None:
        nonlocal unheard
        now = time.monotonic()
        if unheard is None:
            unheard = now
        elif now - unheard > _BLOCKED:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    wanted = (signal.SIGINT, signal.SIGTERM)
    for which in wanted:
        with suppress(NotImplementedError):  # where the loop cannot, as on Windows
            loop.add_signal_handler(which, arrived, which)
            signal.signal(which, came)  # called in any case; the loop is told besides
    try:
        yield
    finally:
        for which in wanted:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(which)
