"""Marks handlers and the sources of their parameters."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar, overload

from tasker import versions
from tasker.errors import Misuse, PermanentError, RetryableError, StepError
from tasker.model import JsonObject

Target = TypeVar("Target", bound=Callable[..., Any])

_ATTRIBUTE = "__tasker_handler__"


# ------------------------------------------------------------------- parameters


@dataclass(frozen=True, slots=True)
class Result:
    """`Annotated[T, Result("step")]`: the result of that ancestor step."""

    step: str


@dataclass(frozen=True, slots=True)
class Input:
    """`Annotated[T, Input("key")]`: the task's input with that name; `Input()`: the whole input."""

    key: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """`Annotated[T, Config("key")]`: the value of that key in the step's configuration."""

    key: str


Source = Result | Input | Config


# --------------------------------------------------------------------- handlers


class StepHandler:
    """Base class of handlers.

    Every attempt gets its own instance, created without arguments. A method may have the same
    parameters as a handler function; the simplest case is `call(self, context)`.
    """

    handler_name: ClassVar[str] = ""
    """Name by which templates refer to the handler; it may contain `::`. If empty, the class's name
    is used."""

    def call(self, *args: Any, **parameters: Any) -> Any:
        """Do the step's work and return its result; may be `async def`.

        Override it as `call(self, context)` or with other parameters; this signature lets type
        checkers accept both.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define call(self, context)")

    def success(self, result: Any = None, metadata: JsonObject | None = None) -> Any:
        """Return `result`: handlers of earlier Taskers end with `return self.success({...})`.

        Args:
            result: The result of the step.
            metadata: Accepted, but not stored.
        """
        return result

    def failure(
        self,
        message: str,
        error_type: str = "",
        retryable: bool = True,
        metadata: JsonObject | None = None,
        error_code: str | None = None,
    ) -> StepError:
        """Return the error with which the step fails: `return self.failure("...")`.

        Args:
            message: A description for people.
            error_type: The error's code if `error_code` is None.
            retryable: Whether another attempt may succeed.
            metadata: Stored as the `details` of the error.
            error_code: A code for programs.
        """
        code = error_code or error_type or None
        if retryable:
            return RetryableError(message, code=code, details=metadata)
        return PermanentError(message, code=code, details=metadata)


class HandlerRegistration(NamedTuple):
    """A name, and optionally a version and a namespace, under which templates find code."""

    name: str
    version: str = ""
    """Version of the code; "" means no version, which does not satisfy steps that require one."""

    namespace: str = ""
    """The namespace that the handler is bound to; "" means that the worker determines the
    namespaces."""

    serves: str = ""
    """Range of earlier versions whose steps this code also runs; "" means none."""


@dataclass(frozen=True, slots=True)
class HandlerMark:
    """The registrations that `@handler` attaches to its target."""

    registrations: tuple[HandlerRegistration, ...] = ()
    process: bool = False


def find_handler_mark(target: object) -> HandlerMark | None:
    """Return the registrations of `@handler` on `target` itself; classes do not inherit them."""
    mark = getattr(target, "__dict__", {}).get(_ATTRIBUTE)
    return mark if isinstance(mark, HandlerMark) else None


def normalize_handler_name(name: str) -> str:
    """Return a handler's name with dots: `A::B`, `::A::B` and `A.B` are the same name."""
    return name.strip().replace("::", ".").strip(".")


@overload
def handler(target: Target, /) -> Target: ...


@overload
def handler(
    target: str | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "",
    namespace: str = "",
    process: bool = False,
) -> Callable[[Target], Target]: ...


def handler(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    version: str = "",
    namespace: str = "",
    process: bool = False,
) -> Any:  # the overloads have the types
    """Mark a function, class or method as a handler; it can still be called directly.

    Use it without arguments, with a name (`@handler("Payments::StepHandlers::Validate")`), or
    several times for several names. Templates refer to a marked method by `handler: {method: ...}`.

    Args:
        target: The function or class, or its name.
        name: The name as a keyword argument; None means the name of the function or class.
        version: Version of the code, such as "2.1.0", for steps that require one; "" means none.
        namespace: The only namespace whose templates may call it; "" means that the worker's
            templates or its `namespaces` determine them.
        process: Whether to run it in a separate process, for long computations. It must be a sync
            function, or a class, at module level.

    Raises:
        InvalidInput: `version` is not a version.
        Misuse: The target is neither a function nor a class, the name is empty, or an async target
            is marked `process=True`.
    """
    if isinstance(target, str):
        if name is not None:
            raise Misuse(f'@handler("{target}", name="{name}") has two names; give only one')
        target, name = None, target
    if name is not None and not normalize_handler_name(name):
        raise Misuse("the name given to @handler must not be empty")
    if version:
        versions.parse(version)

    def mark_handler(target: Any) -> Any:
        _require_markable(target, process)
        earlier = find_handler_mark(target) or HandlerMark()
        own = HandlerRegistration(
            normalize_handler_name(name or "") or default_handler_name(target), version, namespace
        )
        others = (other for other in earlier.registrations if other != own)
        setattr(target, _ATTRIBUTE, HandlerMark((own, *others), process or earlier.process))
        return target

    return mark_handler if target is None else mark_handler(target)


def _require_markable(target: Any, process: bool) -> None:
    if not (inspect.isfunction(target) or inspect.isclass(target)):
        raise Misuse(
            f"@handler can only mark functions and classes, not type {type(target).__name__}"
        )
    if process and inspect.iscoroutinefunction(target):
        raise Misuse(
            f"{target.__qualname__} is async; process=True is only for synchronous functions"
        )


def default_handler_name(target: Any) -> str:
    """Return the default name of a function or class."""
    if inspect.isclass(target):
        return normalize_handler_name(str(vars(target).get("handler_name") or target.__name__))
    return str(getattr(target, "__name__", type(target).__name__))
