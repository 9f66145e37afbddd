"""One handler: a function, a class, or an object that has a `call` method."""

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasker.errors import Misuse
from tasker.handlers.context import AsyncContext, SyncContext
from tasker.handlers.decorators import HandlerRegistration, StepHandler, find_handler_mark
from tasker.handlers.importing import ModuleOrigin, display_path, find_module_origin
from tasker.handlers.signature import Parameter, read_parameters, read_return_annotation


class HandlerReference(NamedTuple):
    """A reference by which another process finds a handler."""

    origin: ModuleOrigin
    qualname: str

    def import_target(self) -> Any:
        """Import the module and return the function or class."""
        return functools.reduce(getattr, self.qualname.split("."), self.origin.load())


class Handler:
    """A function, class or object that does a step's work.

    Args:
        registration: The handler's registration, name or dotted path.
        target: The function, class, or object with a `call` method.
    """

    __slots__ = ("_async", "_entries", "_parameters", "process", "registration", "target")

    def __init__(self, registration: HandlerRegistration | str, target: Any) -> None:
        mark = find_handler_mark(target)
        if isinstance(registration, str):
            registration = HandlerRegistration(registration)
        self.registration = registration
        self.target = target
        self.process = mark is not None and mark.process
        self._parameters: dict[str | None, tuple[Parameter, ...]] = {}  #: by method, like these:
        self._entries: dict[str | None, Callable[..., Any]] = {}
        self._async: dict[str | None, bool] = {}

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        return f"handler {self.name!r} at {self.location}"

    # -- identity

    @property
    def name(self) -> str:
        """The name under which it is registered, or its dotted path."""
        return self.registration.name

    @property
    def kind(self) -> str:
        """`function`, `class` or `object`."""
        if isinstance(self.target, type):
            return "class"
        return "object" if self._has_call_method else "function"

    @property
    def _has_call_method(self) -> bool:
        return not inspect.isroutine(self.target) and callable(getattr(self.target, "call", None))

    @property
    def module(self) -> str:
        """Name of the module that defines it."""
        module = getattr(self.target, "__module__", None)
        return str(module or type(self.target).__module__)

    def qualified_name(self, method: str | None = None) -> str:
        """Return the dotted name of its function, or of its class and the method that is called."""
        source = _unwrap_target(self.target)
        name = f"{source.__module__}.{source.__qualname__}"
        return name if self.kind == "function" else f"{name}.{method or 'call'}"

    @property
    def file(self) -> Path | None:
        """The file that defines it, or None if unknown."""
        try:
            file = inspect.getsourcefile(_unwrap_target(self.target))
        except TypeError:
            return None
        return Path(file) if file else None

    @property
    def line(self) -> int | None:
        """The first line of its definition, from 1, or None if unknown."""
        definition = _unwrap_target(self.target)
        code = getattr(definition, "__code__", None)
        if code is not None:
            return int(code.co_firstlineno)
        try:
            return inspect.getsourcelines(definition)[1]
        except (OSError, TypeError):
            return None

    @property
    def location(self) -> str:
        """`file:line`, or the module if the line is unknown."""
        return f"{display_path(self.file)}:{self.line}" if self.file and self.line else self.module

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        text = inspect.getdoc(self.target) or ""
        return text.partition("\n")[0]

    # -- calling

    def entry_point(self, method: str | None = None) -> Callable[..., Any]:
        """Return the callable that takes the parameters as keywords.

        Args:
            method: The method of a class or object; None means `call`.

        Raises:
            Misuse: The method does not exist, or the class needs constructor arguments.
        """
        if method not in self._entries:
            self._entries[method] = self._find_entry_point(method)
        return self._entries[method]

    def is_async(self, method: str | None = None) -> bool:
        """Return whether the handler is async; otherwise it runs in a thread or process."""
        if method not in self._async:
            function = self._signature_source(method)
            called = inspect.getattr_static(type(function), "__call__", None)
            self._async[method] = any(map(inspect.iscoroutinefunction, (function, called)))
        return self._async[method]

    def parameters(self, method: str | None = None) -> tuple[Parameter, ...]:
        """Return its parameters.

        Raises:
            Misuse: A parameter cannot be filled.
        """
        if method not in self._parameters:
            self._parameters[method] = self._read_parameters(method)
        return self._parameters[method]

    def return_annotation(self, method: str | None = None) -> Any:
        """Return its return annotation, or Any without one."""
        return read_return_annotation(self._signature_source(method))

    @property
    def import_reference(self) -> HandlerReference:
        """The reference by which another process finds the handler.

        Raises:
            Misuse: The handler is not at module level.
        """
        qualname = getattr(self.target, "__qualname__", "")
        module = sys.modules.get(self.module)
        at_top = functools.reduce(
            lambda holder, part: getattr(holder, part, None), qualname.split("."), module
        )
        if module is None or at_top is not self.target:
            raise Misuse(
                f"{self} is marked `process=True`, but a separate process could not import it:"
                " define it at the top level of a module"
            )
        return HandlerReference(find_module_origin(module), qualname)

    def _find_entry_point(self, method: str | None) -> Callable[..., Any]:
        if self.kind == "function":
            if method not in (None, "call"):
                raise Misuse(f"{self} is a function and has no method {method!r}")
            return self.target  # type: ignore[no-any-return]  # handlers return what they like
        name = method or "call"
        self._check_method(name)
        if self.kind == "object":
            return getattr(self.target, name)  # type: ignore[no-any-return]
        make: Callable[[], Any] = self.target

        def call_new_object(**filled: Any) -> Any:
            return getattr(make(), name)(**filled)

        return call_new_object

    def _read_parameters(self, method: str | None) -> tuple[Parameter, ...]:
        function = self._signature_source(method)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise Misuse(f"{self} is a generator; a handler must return its result")
        if self.process and self.is_async(method):
            raise Misuse(f"{self} is async; process=True is only for synchronous functions")
        parameters = read_parameters(function, what=self)
        for parameter in parameters:
            self._check_context_type(parameter, self.is_async(method))
        return parameters

    def _check_context_type(self, parameter: Parameter, is_async: bool) -> None:
        kind, gets = (
            ("an async handler", AsyncContext)
            if is_async
            else ("a handler that is not async", SyncContext)
        )
        wanted = parameter.annotation
        if parameter.takes_context and wanted in (AsyncContext, SyncContext) and wanted is not gets:
            raise Misuse(
                f"{self}: the type of parameter {parameter.name!r} is {wanted.__name__},"
                f" but {kind} gets {gets.__name__}"
            )

    def _signature_source(self, method: str | None) -> Callable[..., Any]:
        """Return the callable whose signature defines the parameters, without `self`."""
        if self.kind != "class":
            return self.entry_point(method)
        name = method or "call"
        self._check_method(name)
        plain = inspect.getattr_static(self.target, name)
        if isinstance(plain, staticmethod | classmethod):
            return getattr(self.target, name)  # type: ignore[no-any-return]
        return plain.__get__(_NOBODY, self.target)  # type: ignore[no-any-return]

    def _check_method(self, method: str) -> None:
        cls = self.target if isinstance(self.target, type) else type(self.target)
        plain = next((vars(base)[method] for base in cls.__mro__ if method in vars(base)), None)
        if plain is StepHandler.call:
            raise Misuse(f"{self} does not define call(self, context)")
        if method.startswith("_") or not (callable(plain) or hasattr(plain, "__func__")):
            raise Misuse(f"{self} has no method {method!r}")
        if method != "call" and find_handler_mark(getattr(plain, "__func__", plain)) is None:
            raise Misuse(
                f"{self} has a method {method!r}, but steps cannot call it:"
                " mark it with @handler to allow that"
            )
        if cls is self.target:
            self._check_constructor(cls)

    def _check_constructor(self, cls: type) -> None:
        try:
            inspect.signature(cls).bind()
        except TypeError as error:
            raise Misuse(
                f"{self} cannot be instantiated without arguments ({error}), but every"
                " attempt creates an instance"
            ) from None
        except ValueError:  # a class without a signature: fails at its first attempt
            return


_NOBODY = object()
"""Placeholder that a method is bound to, so that the method's signature omits `self`."""


def _unwrap_target(target: Any) -> Any:
    """Return the function or class in the source, behind wrappers, partials and instances."""
    target = inspect.unwrap(target) if callable(target) else target
    while isinstance(target, functools.partial):
        target = inspect.unwrap(target.func)
    if inspect.isroutine(target):
        return getattr(target, "__func__", target)
    return target if isinstance(target, type) else type(target)
