"""Loads handlers and templates and handles signals, for commands with a worker."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from tasker.cli.render.style import format_short_json
from tasker.client import Client
from tasker.errors import (
    HandlerNotFound,
    InvalidInput,
    InvalidTemplate,
    NotFound,
    TaskRegistrationError,
    TemplateNotApproved,
)
from tasker.handlers import Handlers
from tasker.layout import steps_with_handlers
from tasker.model import Template, flatten_steps
from tasker.template.diff import compare_templates
from tasker.template.load import load_template, load_templates

log = logging.getLogger("tasker.cli")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SUFFIXES = (".yaml", ".yml", ".json")
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""Networks that `http:` steps may reach during development."""

_MOST_CHANGES = 5  #: of a template that are listed
_BLOCKED = 0.5  #: seconds after which a loop that has not reported a signal counts as blocked


class LoadedSources(NamedTuple):
    """Handlers and templates named on the command line."""

    handlers: Handlers
    templates: list[Template]  #: from files, and from workflows in the handler sources

    @property
    def has_http_steps(self) -> bool:
        """Whether a template has `http:` steps."""
        return any(
            spec.http is not None for one in self.templates for spec in flatten_steps(one.steps)
        )


def load_sources(
    sources: Iterable[str],
    paths: Sequence[Path],
    *,
    reload: bool = False,
    skip_broken: bool = False,
) -> LoadedSources:
    """Import handlers and read templates.

    Args:
        sources: Modules, files and directories with handlers; see `Handlers.collect`.
        paths: Template files, and directories of template files.
        reload: Whether modules are imported again.
        skip_broken: Whether an invalid file in a directory is logged and skipped, so that it does
            not affect other teams' templates. A file named explicitly always raises.

    Raises:
        HandlerImportError: A module cannot be imported.
        InvalidTemplate: A template is invalid; the error lists all problems.
    """
    handlers = Handlers.collect(*sources, reload=reload)
    named = {str(path) for path in paths if not path.is_dir()}

    def skip_broken_unless_named(file: Path, error: InvalidTemplate) -> None:
        if str(file) in named:
            raise error
        problems = "; ".join(str(problem) for problem in error.problems)
        log.error("template_file_skipped", extra={"file": str(file), "problems": problems})

    files = load_templates(paths, on_broken=skip_broken_unless_named if skip_broken else None)
    templates = [*files, *handlers.templates()]
    return LoadedSources(
        handlers, list({template.key: template for template in templates}.values())
    )


def is_template_file_reference(reference: str) -> bool:
    """Return whether a template is given as a file rather than by name."""
    return reference.endswith(_SUFFIXES) or "/" in reference or Path(reference).is_file()


def resolve_template_argument(reference: str) -> tuple[str, list[Path]]:
    """Return the name of a template given by name or file, and the file to read.

    Raises:
        InvalidTemplate: The file is missing or invalid, or contains several templates.
        InvalidInput: It is a Python file.
    """
    if not is_template_file_reference(reference):
        return reference, []
    path = Path(reference)
    if path.suffix == ".py":
        raise InvalidInput(
            f"{path} is a Python file, not a template: pass the file with --handlers, and name one"
            " of its workflows, such as shop.fulfil_order"
        )
    return load_template(path).full_name, [path]


def require_all_handlers(template: Template, handlers: Handlers) -> None:
    """Raise HandlerNotFound unless every step of a template has a handler."""
    for spec in steps_with_handlers(template.steps):
        if handlers.find_handler(spec.handler, template.namespace, spec.handler_version) is None:
            missing = handlers.not_found_error(
                spec.handler, template.namespace, spec.handler_version
            )
            raise HandlerNotFound(f"{template.full_name}, step {spec.name}: {missing}")


@contextmanager
def explain_invalid_context(template: str, *, given: bool = True) -> Iterator[None]:
    """Add the template's name to the error for an invalid context, but not to those of options.

    Args:
        template: Its full name.
        given: Whether a context was given; if not, the error explains how to give one.
    """
    try:
        yield
    except InvalidInput as error:
        option = error.path.removeprefix("$.")
        if str(error).startswith(f"{option} "):  # the errors of a context begin with a path
            raise
        message = f"the context is not valid for {template}: {error}"
        if not given:
            message += """; pass the inputs as --context '{"NAME": VALUE}'"""
        raise InvalidInput(message, path=error.path) from None


@asynccontextmanager
async def explain_version_conflicts(
    client: Client, templates: Iterable[Template]
) -> AsyncIterator[None]:
    """Add the differences of templates to the error that their versions have other content."""
    try:
        yield
    except TaskRegistrationError as error:
        differences = [await _describe_differences(client, template) for template in templates]
        raise TaskRegistrationError(f"{error}{''.join(differences)}") from None


async def _describe_differences(client: Client, template: Template) -> str:
    """Describe how a template differs from the registered version; "" if it does not."""
    try:
        stored = (await client.template(template.full_name)).template
    except (NotFound, TemplateNotApproved):
        return ""
    changes = compare_templates(stored, template).changes
    shown = [
        f"{one.path}: {format_short_json(one.before, 40)} -> {format_short_json(one.after, 40)}"
        for one in changes[:_MOST_CHANGES]
    ]
    if not shown:
        return ""
    rest = len(changes) - len(shown)
    more = f" and {rest} more" if rest else ""
    return f"; template {template.full_name} differs in {', '.join(shown)}{more}"


@contextmanager
def handle_signals(callback: Callable[[signal.Signals, int], None]) -> Iterator[None]:
    """Call `callback` for each SIGINT and SIGTERM during the block, with a count from 1.

    If a handler blocks the loop, so that signals are not handled, a later signal ends the process.
    """
    loop = asyncio.get_running_loop()
    count = 0
    pending: float | None = None  #: time of a signal that the loop has not handled yet

    def count_signal_and_call_back(which: signal.Signals) -> None:
        nonlocal count, pending
        count += 1
        pending = None
        callback(which, count)

    def exit_if_loop_blocked(number: int, _frame: object) -> None:
        nonlocal pending
        now = time.monotonic()
        if pending is None:
            pending = now
        elif now - pending > _BLOCKED:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for which in _SIGNALS:
        with suppress(NotImplementedError):  # on Windows, where the loop cannot
            loop.add_signal_handler(which, count_signal_and_call_back, which)
            signal.signal(which, exit_if_loop_blocked)  # always called; the loop is woken as well
    try:
        yield
    finally:
        for which in _SIGNALS:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(which)
