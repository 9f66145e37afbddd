"""All the handlers that one process has, found by the names that templates use."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, Protocol, TypeGuard

from tasker.errors import HandlerImportError, HandlerNotFound, Misuse
from tasker.graph import Graph
from tasker.handlers.attempt import Upstream
from tasker.handlers.binding import Plan, compile_plan
from tasker.handlers.decorators import StepHandler, normalised, own_name, registration_of
from tasker.handlers.importing import (
    Forgotten,
    Origin,
    files_under,
    import_all,
    locate,
    origin_of,
    root_of,
)
from tasker.handlers.target import Handler
from tasker.model import StepSpec, Template
from tasker.suggest import did_you_mean


class _Workflow(Protocol):
    """A template, and the functions that do its steps by their names."""

    @property
    def functions(self) -> Mapping[str, Any]: ...

    @property
    def template(self) -> Template: ...


class Handlers:
    """A fixed set of handlers.

    A handler is found by a name that it is registered under, then by its dotted path,
    then, where no other module given has one like it, by the bare name of a function or
    class. Only what the sources hold is ever found: a template that asks for `os.system`
    gets nothing, and looking for a name imports nothing.
    """

    def __init__(
        self,
        registered: Mapping[str, Handler],
        others: Mapping[str, Handler],
        roots: Iterable[Path] = (),
        workflows: Iterable[_Workflow] = (),
    ) -> None:
        """Use `Handlers.of`."""
        self._registered = MappingProxyType(dict(registered))
        self._others = MappingProxyType(dict(others))  #: by dotted path
        self._roots = frozenset(roots)
        self._workflows = tuple(workflows)
        self._bare: dict[str, list[Handler]] = {}
        for path, found in self._others.items():
            self._bare.setdefault(path.rpartition(".")[2], []).append(found)

    @classmethod
    def of(cls, *sources: object, reload: bool = False) -> "Handlers":
        """Gather handlers.

        Args:
            sources: Each a module, a dotted module name, the path of a file or directory,
                a function, a class, a mapping of names to these, an object that has such a
                mapping as `functions` (a workflow), or other `Handlers`. A module gives its
                workflows as well, and a package all its modules, but tests and private ones.
            reload: Import modules anew that were imported before, and what stands beside
                them; where that fails, the modules from before stay.

        Raises:
            HandlerImportError: A module cannot be imported (file, line and why); or two
                handlers claim one name.
            Misuse: A source is none of these.
        """
        if reload:
            imported = [module for source in sources for module in _imported(source)]
            roots = {root for module in imported for root in root_of(module)}
            with Forgotten(set(files_under(roots))):
                return cls.of(*sources)
        if len(sources) == 1 and isinstance(sources[0], Handlers):
            return sources[0]
        gathering = _Gathering()
        for source in sources:
            gathering.add(source)
        return cls(gathering.registered, gathering.others, gathering.roots, gathering.workflows)

    # -- finding

    def find(self, name: str, namespace: str | None = None) -> Handler | None:
        """Find the handler that a template calls `name`.

        Args:
            name: A registered name (`::` and `.` are the same), a dotted path, or the bare
                name of a function or class.
            namespace: The template's; a handler registered as `namespace.name` goes first.

        Returns:
            The handler; None where there is none, or a bare name fits several.
        """
        name = normalised(name)
        found = self._registered.get(f"{namespace}.{name}") or self._registered.get(name)
        if found is None:
            found = self._others.get(name)
        if found is None:
            bare = self._bare.get(name, ())
            found = bare[0] if len(bare) == 1 else None
        return found

    def plan(self, template: Template, graph: Graph, spec: StepSpec) -> Plan | None:
        """Compile how one step is run; None where it has no handler here.

        Raises:
            Misuse: Its handler asks for something that this step cannot give.
        """
        found = self.find(spec.handler, template.namespace)
        if found is None:
            return None
        upstream = Upstream.of(graph, graph.numbers[spec.name])
        return compile_plan(found, spec, upstream=upstream, template=template.key)

    def missing(self, name: str, namespace: str | None = None) -> HandlerNotFound:
        """Make the error that says why `find` finds nothing."""
        name = normalised(name)
        several = self._bare.get(name, ())
        if several:
            places = " and ".join(found.name for found in several)
            return HandlerNotFound(
                f"handler {name!r} could be {places}; use the dotted path,"
                f' or register one with @handler("{name}")'
            )
        known = {*self._registered, *self._others, *self._bare}
        of = f" (namespace {namespace})" if namespace else ""
        hint = did_you_mean(name, known)
        if not hint:
            some = [*self.names()[:5], "..."] if len(self) > 5 else self.names()
            hint = f"; registered: {', '.join(some) or 'none'}"
        return HandlerNotFound(f"there is no handler {name!r}{of}{hint}")

    # -- listing

    def names(self) -> tuple[str, ...]:
        """Tell the registered names, sorted."""
        return tuple(sorted(self._registered))

    def describe(self) -> tuple[Handler, ...]:
        """Tell the registered handlers by name; one with two names comes twice."""
        return tuple(self._registered[name] for name in self.names())

    def templates(self) -> tuple[Template, ...]:
        """Tell the templates of the workflows among the sources.

        Raises:
            InvalidTemplate: One of them is wrong.
        """
        return tuple(workflow.template for workflow in self._workflows)

    def files(self) -> frozenset[Path]:
        """Tell the files whose change asks for a reload: the sources' and what stands beside."""
        return frozenset(files_under(set(self._roots)).values())

    def __len__(self) -> int:
        return len(self._registered)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self.describe())

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def __repr__(self) -> str:
        return f"<Handlers {', '.join(self.names()) or 'none registered'}>"


# ---------------------------------------------------------------------------- gathering


class _Gathering:
    """Handlers while their sources are read."""

    def __init__(self) -> None:
        self.registered: dict[str, Handler] = {}
        self.others: dict[str, Handler] = {}
        self.roots: set[Path] = set()
        self.workflows: list[_Workflow] = []

    def add(self, source: object) -> None:
        functions = getattr(source, "functions", None)
        if isinstance(source, Handlers):
            self._add_handlers(source)
        elif _is_workflow(source):
            self._add_workflow(source)
        elif isinstance(source, ModuleType):
            self._add_modules(origin_of(source), source.__name__)
        elif isinstance(source, str | Path):
            for origin in locate(source):
                self._add_modules(origin, source)
        elif isinstance(source, Mapping):
            self._add_named(source)
        elif isinstance(functions, Mapping) and not isinstance(source, type):
            self._add_named(functions)
        elif callable(source) or callable(getattr(source, "call", None)):
            self._add_target(source)
        else:
            raise Misuse(
                f"there are no handlers in {source!r}; give modules, their names, paths,"
                " functions, classes or workflows"
            )

    def _add_handlers(self, source: Handlers) -> None:
        for name, found in source._registered.items():
            self._register(name, found.target)
        self.others.update(source._others)
        self.roots |= source._roots
        self.workflows += [one for one in source._workflows if one not in self.workflows]

    def _add_workflow(self, workflow: _Workflow) -> None:
        if workflow not in self.workflows:
            self.workflows.append(workflow)
            self._add_named(workflow.functions)

    def _add_modules(self, origin: Origin, source: object) -> None:
        for module in import_all(origin, source=source):
            self._add_members(module)
            self.roots |= root_of(module)

    def _add_named(self, source: Mapping[Any, Any]) -> None:
        for name, target in source.items():
            if not isinstance(name, str) or not normalised(name):
                raise Misuse(f"{name!r} cannot be the name of a handler")
            self._refuse_useless(target, name)
            self._register(normalised(name), target)

    def _add_target(self, target: Any) -> None:
        mark = registration_of(target)
        for name in mark.names if mark else (own_name(target),):
            if "<" in name:
                raise Misuse(f'{target!r} has no name of its own; give it one: {{"name": ...}}')
            self._register(name, target)
        self._note(target)

    def _add_members(self, module: ModuleType) -> None:
        for name, target in list(vars(module).items()):
            if _is_workflow(target):
                self._add_workflow(target)
            if not issubclass(type(target), FunctionType | type):
                continue
            here = target.__module__ == module.__name__
            if registration_of(target) is not None or (here and _is_step_handler(target)):
                self._add_target(target)
            elif here and not name.startswith("_") and _could_be_handler(target):
                self._note(target)

    def _note(self, target: object) -> None:
        """Remember a function or class under its dotted path."""
        qualname = getattr(target, "__qualname__", None)
        if qualname is not None and "<" not in qualname:
            path = f"{getattr(target, '__module__', '')}.{qualname}"
            self.others[path] = Handler(path, target)

    def _register(self, name: str, target: object) -> None:
        there = self.registered.get(name)
        if there is None:
            self.registered[name] = Handler(name, target)
        elif there.target is not target:
            raise HandlerImportError(
                f"two handlers are called {name!r}: at {there.where} and at"
                f' {Handler(name, target).where}; give one another name with @handler("...")'
            )

    def _refuse_useless(self, target: object, name: str) -> None:
        if not callable(target) and not callable(getattr(target, "call", None)):
            raise Misuse(f"{name!r} cannot be a handler: {target!r} cannot be called")


def _is_workflow(target: object) -> TypeGuard[_Workflow]:
    """Whether it is a template with its functions; told by its class, which asks nothing of it."""
    return all(
        isinstance(inspect.getattr_static(type(target), name, None), property)
        for name in ("functions", "template")
    )


def _is_step_handler(target: Any) -> bool:
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


def _imported(source: object) -> list[ModuleType]:
    """Tell the modules of a source that are imported already."""
    if isinstance(source, ModuleType):
        return [source]
    if isinstance(source, str | Path):
        found = [sys.modules.get(origin.name) for origin in locate(source)]
        return [module for module in found if module is not None]
    return []
