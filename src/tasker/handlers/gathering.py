"""Gathers handlers from their sources: modules, files, functions, workflows."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Protocol, TypeGuard

from tasker.errors import HandlerImportError, Misuse
from tasker.handlers.decorators import (
    HandlerRegistration,
    StepHandler,
    default_handler_name,
    find_handler_mark,
    normalize_handler_name,
)
from tasker.handlers.importing import (
    ModuleOrigin,
    find_module_origin,
    find_reload_roots,
    import_with_submodules,
    locate_modules,
)
from tasker.handlers.subscribers import Subscriber, find_subscriber
from tasker.handlers.target import Handler
from tasker.model import Template


class WorkflowSource(Protocol):
    """A template, and the functions of its steps by name."""

    @property
    def functions(self) -> Mapping[str, Any]: ...

    @property
    def template(self) -> Template: ...

    @property
    def version(self) -> str: ...

    @property
    def serves(self) -> str: ...


class HandlerCollector:
    """Collects the handlers, subscribers and workflows of sources."""

    def __init__(self) -> None:
        self.registered: dict[str, list[Handler]] = {}
        self.others: dict[str, list[Handler]] = {}  #: by dotted path
        self.roots: set[Path] = set()
        self.workflows: list[WorkflowSource] = []
        self.subscribers: list[Subscriber] = []
        self._namespace = ""  #: namespace of the source being read, if it names one

    def add_source(self, source: object) -> None:
        """Add the handlers of one source: see `Handlers.collect`."""
        functions = getattr(source, "functions", None)
        if (subscriber := find_subscriber(source)) is not None:
            self.add_subscriber(subscriber)
        elif _is_workflow(source):
            self._add_workflow(source)
        elif isinstance(source, ModuleType):
            self._add_modules(find_module_origin(source), source.__name__)
        elif isinstance(source, str | Path):
            self._add_path_or_module(source)
        elif isinstance(source, Mapping):
            self._add_named_handlers(source)
        elif isinstance(functions, Mapping) and not isinstance(source, type):
            self._add_named_handlers(functions)
        elif callable(source) or callable(getattr(source, "call", None)):
            self._add_registered_target(source)
        else:
            raise Misuse(
                f"{source!r} contains no handlers; pass modules, module names, paths,"
                " functions, classes or workflows"
            )

    def add_handler(self, handler: Handler) -> None:
        """Add one handler under its name.

        Raises:
            HandlerImportError: Another handler has the same name, version and namespace.
        """
        there = self.registered.setdefault(handler.name, [])
        for other in there:
            if _version_and_namespace(other) != _version_and_namespace(handler):
                continue
            if other.target is handler.target:
                return
            raise HandlerImportError(
                f"two handlers are named {handler.name!r}{_version_suffix(handler)}:"
                f" at {other.location}"
                f' and at {handler.location}; rename one of them with @handler("...")'
            )
        there.append(handler)

    def add_subscriber(self, subscriber: Subscriber) -> None:
        """Add one subscriber.

        Raises:
            HandlerImportError: Another subscriber has the same name and namespace.
        """
        if self._namespace and not subscriber.namespace:
            subscriber = replace(subscriber, namespace=self._namespace)
        for other in self.subscribers:
            if other == subscriber:
                return
            if (other.name, other.namespace) == (subscriber.name, subscriber.namespace):
                raise HandlerImportError(
                    f"two subscribers are named {subscriber.name!r}: at {other.location}"
                    f" and at {subscriber.location}; rename one of them with"
                    ' @on_event(..., name="...")'
                )
        self.subscribers.append(subscriber)

    def add_handler_under_dotted_path(self, handler: Handler) -> None:
        """Add one handler under its dotted path."""
        there = self.others.setdefault(handler.name, [])
        there[:] = [
            other
            for other in there
            if _version_and_namespace(other) != _version_and_namespace(handler)
        ]
        there.append(handler)

    def _add_path_or_module(self, source: str | Path) -> None:
        self._namespace, place = split_namespace(source)
        for origin in locate_modules(place):
            self._add_modules(origin, place)
        self._namespace = ""

    def _add_workflow(self, workflow: WorkflowSource) -> None:
        if workflow in self.workflows:
            return
        self.workflows.append(workflow)
        for name, target in workflow.functions.items():
            code = HandlerRegistration(name, workflow.version, self._namespace, workflow.serves)
            self.add_handler(Handler(code, target))

    def _add_modules(self, origin: ModuleOrigin, source: object) -> None:
        for module in import_with_submodules(origin, source=source):
            self._add_module_members(module)
            self.roots |= find_reload_roots(module)

    def _add_named_handlers(self, source: Mapping[Any, Any]) -> None:
        for name, target in source.items():
            if not isinstance(name, str) or not normalize_handler_name(name):
                raise Misuse(f"{name!r} cannot be the name of a handler")
            if not callable(target) and not callable(getattr(target, "call", None)):
                raise Misuse(f"{name!r} cannot be a handler: {target!r} is not callable")
            self.add_handler(Handler(normalize_handler_name(name), target))

    def _add_registered_target(self, target: Any) -> None:
        mark = find_handler_mark(target)
        for each in (
            mark.registrations if mark else (HandlerRegistration(default_handler_name(target)),)
        ):
            if "<" in each.name:
                raise Misuse(f'{target!r} has no name; give it one: {{"name": ...}}')
            bound = each._replace(namespace=each.namespace or self._namespace)
            self.add_handler(Handler(bound, target))
        self._add_target_under_dotted_path(target)

    def _add_module_members(self, module: ModuleType) -> None:
        for name, target in list(vars(module).items()):
            if _is_workflow(target):
                self._add_workflow(target)
            if not issubclass(type(target), FunctionType | type):
                continue
            here = target.__module__ == module.__name__
            if (subscriber := find_subscriber(target)) is not None:
                self.add_subscriber(subscriber)
            elif find_handler_mark(target) is not None or (here and _is_step_handler_class(target)):
                self._add_registered_target(target)
            elif here and not name.startswith("_") and _could_be_handler(target):
                self._add_target_under_dotted_path(target)

    def _add_target_under_dotted_path(self, target: object) -> None:
        """Add a function or class under its dotted path, with the namespace and version of its
        registration.
        """
        qualname = getattr(target, "__qualname__", None)
        if qualname is None or "<" in qualname:
            return
        path = f"{getattr(target, '__module__', '')}.{qualname}"
        mark = find_handler_mark(target)
        for each in mark.registrations if mark else (HandlerRegistration(path),):
            namespace = each.namespace or self._namespace
            self.add_handler_under_dotted_path(
                Handler(each._replace(name=path, namespace=namespace), target)
            )


def split_namespace(source: str | Path) -> tuple[str, str | Path]:
    """Split `payments=payments.py` into a namespace and a source; the namespace may be ""."""
    if isinstance(source, str) and not Path(source).exists():
        namespace, separator, place = source.partition("=")
        if separator:
            return namespace.strip(), place.strip()
    return "", source


def list_imported_modules(source: object) -> list[ModuleType]:
    """List the modules of a source that are already imported."""
    if isinstance(source, ModuleType):
        return [source]
    if isinstance(source, str | Path):
        place = split_namespace(source)[1]
        modules = [sys.modules.get(origin.name) for origin in locate_modules(place)]
        return [module for module in modules if module is not None]
    return []


def _version_and_namespace(handler: Handler) -> tuple[str, str]:
    return handler.registration.version, handler.registration.namespace


def _version_suffix(handler: Handler) -> str:
    version = handler.registration.version
    return f" at version {version}" if version else ""


def _is_workflow(target: object) -> TypeGuard[WorkflowSource]:
    """Return whether an object is a template with functions, judging only by its class."""
    return all(
        isinstance(inspect.getattr_static(type(target), name, None), property)
        for name in ("functions", "template", "version", "serves")
    )


def _is_step_handler_class(target: Any) -> bool:
    return (
        isinstance(target, type)
        and issubclass(target, StepHandler)
        and target.call is not StepHandler.call
        and not inspect.isabstract(target)
        and not target.__name__.startswith("_")
    )


def _could_be_handler(target: object) -> bool:
    if isinstance(target, type):
        return callable(getattr(target, "call", None))
    return True
