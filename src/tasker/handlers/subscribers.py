"""Marks functions that receive domain events."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tasker.errors import Misuse
from tasker.events import ALL_NAMESPACES, parse_event_patterns
from tasker.model import NAMESPACE, NAMESPACE_RULE

Function = TypeVar("Function", bound=Callable[..., Any])

_ATTRIBUTE = "__tasker_subscriber__"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A function that receives events and its subscription."""

    function: Callable[..., Any]
    events: tuple[str, ...]
    name: str
    namespace: str
    """Namespace of the events; "" means the worker's namespaces, and `*` means all namespaces."""

    every_process: bool

    @property
    def location(self) -> str:
        """File and line of the function."""
        code = getattr(self.function, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)


def on_event(
    *events: str, name: str = "", namespace: str = "", every_process: bool = False
) -> Callable[[Function], Function]:
    """Make a sync or async function receive domain events; each call gets one `Event`.

    Each event is delivered at least once to one of the processes whose workers have the function;
    events of the same task arrive in order. If the function raises, the event is delivered again
    later and finally becomes dead. The workflow is not affected.

    Args:
        events: Event names such as "payment.charged", or prefixes such as "payment.*"; "*" for all.
        name: Name of the subscription in its namespace; "": the name of the function. With a new
            name, the function receives events from then on.
        namespace: Namespace of the events; "": the namespaces of the worker's templates and its
            `namespaces`; "*": all.
        every_process: Whether each process receives every event published while it runs, on a
            best-effort basis: failed calls are not repeated.

    Raises:
        InvalidInput: A name of an event is invalid.
        Misuse: The name or the namespace is invalid, or the target is not a function.
    """
    patterns = parse_event_patterns(events)
    if namespace and namespace != ALL_NAMESPACES and not NAMESPACE.fullmatch(namespace):
        raise Misuse(f"the namespace {namespace[:60]!r} of @on_event is invalid: {NAMESPACE_RULE}")

    def mark_subscriber(function: Function) -> Function:
        if not inspect.isfunction(function):
            raise Misuse(f"@on_event can only mark functions, not {type(function).__name__}")
        subscriber = Subscriber(
            function, patterns, name or function.__name__, namespace, every_process
        )
        setattr(function, _ATTRIBUTE, subscriber)
        return function

    return mark_subscriber


def find_subscriber(target: object) -> Subscriber | None:
    """Return the subscription that `@on_event` attached to a function."""
    mark = getattr(target, "__dict__", {}).get(_ATTRIBUTE)
    return mark if isinstance(mark, Subscriber) else None
