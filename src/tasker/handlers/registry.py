"""All handlers of a process, looked up by the names that templates use."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tasker import versions
from tasker.errors import HandlerNotFound
from tasker.graph import Graph
from tasker.handlers.attempt import UpstreamSteps
from tasker.handlers.binding import CallPlan, compile_call_plan
from tasker.handlers.decorators import normalize_handler_name
from tasker.handlers.gathering import HandlerCollector, WorkflowSource, list_imported_modules
from tasker.handlers.importing import UnloadedModules, find_imported_files, find_reload_roots
from tasker.handlers.instances import EnclosingInstances
from tasker.handlers.subscribers import Subscriber
from tasker.handlers.target import Handler
from tasker.layout import steps_with_handlers
from tasker.model import HTTP_HANDLER, NO_HTTP_WORKER, StepSpec, Template
from tasker.suggest import did_you_mean

EVERY_NAMESPACE = "*"
"""Element of a list of namespaces that binds handlers to all namespaces."""

_Groups = Mapping[str, Sequence[Handler]]


class Handlers:
    """A fixed set of handlers.

    A handler is looked up by its registered names, then by its dotted path, then by the bare name
    of a function or class, unless several modules have that name. Only handlers of the sources are
    ever returned: a template that refers to `os.system` gets no handler, and a lookup never imports
    anything.

    Handlers are bound to namespaces by `bind_to_namespaces`, and `find_handler` only considers
    handlers bound to the template's namespace. Until they are bound, handlers without a namespace
    serve all namespaces.
    """

    def __init__(
        self,
        registered: _Groups,
        others: _Groups,
        roots: Iterable[Path] = (),
        workflows: Iterable[WorkflowSource] = (),
        subscribers: Iterable[Subscriber] = (),
    ) -> None:
        """Create the set; use `Handlers.collect` instead."""
        self._registered = _freeze_groups(registered)
        self._others = _freeze_groups(others)  #: by dotted path
        self._roots = frozenset(roots)
        self._workflows = tuple(workflows)
        self.subscribers = tuple(subscribers)
        """Functions that receive domain events."""

        self._bound: Mapping[Handler, frozenset[str]] | None = (
            None  #: bindings of handlers without a namespace
        )
        bare: dict[str, list[Handler]] = {}
        for path, group in self._others.items():
            bare.setdefault(path.rpartition(".")[2], []).extend(group)
        self._bare = _freeze_groups(bare)

    @classmethod
    def collect(cls, *sources: object, reload: bool = False) -> "Handlers":
        """Gather handlers.

        Args:
            sources: Each is a module, a dotted module name, the path of a file or directory, one of
                these two for a namespace (`payments=payments.py`), a function, a class, a mapping
                of names to these, an object that has such a mapping as `functions`, a workflow, or
                another `Handlers`. A module includes its workflows, and a package all of its
                modules except tests and private ones.
            reload: Whether to import the modules, and those in the same directories, again; if that
                fails, the previous modules remain.

        Raises:
            HandlerImportError: A module cannot be imported (the message has file, line and reason),
                or two handlers have the same name, version and namespace.
            Misuse: A source is of an unsupported kind.
        """
        if reload:
            imported = [module for source in sources for module in list_imported_modules(source)]
            roots = {root for module in imported for root in find_reload_roots(module)}
            with UnloadedModules(set(find_imported_files(roots))):
                return cls.collect(*sources)
        if len(sources) == 1 and isinstance(sources[0], Handlers):
            return sources[0]
        gathering = HandlerCollector()
        for source in sources:
            if isinstance(source, Handlers):
                source._add_to_collector(gathering)
            else:
                gathering.add_source(source)
        return cls(
            gathering.registered,
            gathering.others,
            gathering.roots,
            gathering.workflows,
            gathering.subscribers,
        )

    def _add_to_collector(self, gathering: HandlerCollector) -> None:
        for handler in self.list_registered():
            gathering.add_handler(handler)
        for handler in _iterate_handlers(self._others):
            gathering.add_handler_under_dotted_path(handler)
        for subscriber in self.subscribers:
            gathering.add_subscriber(subscriber)
        gathering.roots |= self._roots
        gathering.workflows += [each for each in self._workflows if each not in gathering.workflows]

    # -- binding

    def bind_to_namespaces(
        self, templates: Iterable[Template], namespaces: Iterable[str]
    ) -> "Handlers":
        """Return a copy of these handlers, each bound to the namespaces that may call it.

        A handler with its own namespace is bound to that namespace. A handler that templates refer
        to is bound, with its other versions, to the namespaces of those templates. All other
        handlers are bound to `namespaces`.

        Args:
            templates: The templates of the worker.
            namespaces: The namespaces of the worker; `*` means all.
        """
        general = copy.copy(self)
        general._bound = None
        named: dict[Handler, set[str]] = {}
        for template in templates:
            for spec in steps_with_handlers(template.steps):
                name, namespace = spec.handler, template.namespace
                handler = general.find_handler(name, namespace, spec.handler_version)
                handler = handler or general.find_handler(name, namespace)
                for version in general._list_versions(handler):
                    named.setdefault(version, set()).add(template.namespace)
        rest = frozenset(namespaces)
        bound = copy.copy(general)
        bound._bound = {
            handler: frozenset(named.get(handler, rest))
            for handler in (*_iterate_handlers(self._registered), *_iterate_handlers(self._others))
        }
        return bound

    def _list_versions(self, handler: Handler | None) -> Sequence[Handler]:
        """List a handler and its other versions."""
        if handler is None:
            return ()
        group = self._registered.get(handler.name, ())
        return group if handler in group else self._others.get(handler.name, ())

    def bound_namespaces(self, handler: Handler) -> frozenset[str]:
        """Return the namespaces that a handler is bound to; `*` means all."""
        if handler.registration.namespace:
            return frozenset([handler.registration.namespace])
        if self._bound is None:
            return frozenset([EVERY_NAMESPACE])
        return self._bound.get(handler, frozenset())

    def unbound_handlers(self) -> tuple[Handler, ...]:
        """List the registered handlers that are not bound to any namespace under any of their
        names."""
        bound = {
            id(handler.target)
            for handler in self.list_registered()
            if self.bound_namespaces(handler)
        }
        return tuple(
            handler for handler in self.list_registered() if id(handler.target) not in bound
        )

    def are_all_unbound(self) -> bool:
        """Whether there are handlers but none is bound to a namespace."""
        handlers = [*_iterate_handlers(self._registered), *_iterate_handlers(self._others)]
        return bool(handlers) and not any(map(self.bound_namespaces, handlers))

    def serves_namespace(self, namespace: str) -> bool:
        """Return whether any handler is bound to a namespace, whether or not templates call it."""
        handlers = [*_iterate_handlers(self._registered), *_iterate_handlers(self._others)]
        return any(self._is_bound_to(handler, namespace) for handler in handlers)

    def copy_with_built_in_handler(
        self, name: str, target: object, *, namespaces: Iterable[str], templates: Iterable[Template]
    ) -> "Handlers":
        """Return a copy of these handlers with a built-in handler for all of their namespaces.

        Args:
            name: Its reserved name.
            target: An object with a `call` method.
            namespaces: The namespaces of the worker; `*` means all.
            templates: The templates of the worker.
        """
        handler = Handler(name, target)
        spaces = {*namespaces, *(template.namespace for template in templates)}
        spaces.update(*map(self.bound_namespaces, _iterate_handlers(self._registered)))
        extended = copy.copy(self)
        extended._registered = _freeze_groups({**self._registered, name: (handler,)})
        if self._bound is not None:
            extended._bound = {**self._bound, handler: frozenset(spaces)}
        return extended

    # -- finding

    def find_handler(
        self, name: str, namespace: str | None = None, version: str = ""
    ) -> Handler | None:
        """Find the handler that a template calls `name`.

        Handlers bound to the namespace take precedence over general ones. The exact version takes
        precedence over the highest version in a range, which takes precedence over code that
        `serves` the version.

        Args:
            name: A registered name (`::` and `.` are the same), a dotted path, or the bare
                name of a function or class.
            namespace: The template's namespace; a handler registered as `namespace.name` takes
                precedence. None means any.
            version: The version or range of versions that the step requires; "" means any.

        Returns:
            The handler, or None if no handler with such a version is bound to the namespace, or if
            a bare name is ambiguous.
        """
        name = normalize_handler_name(name)
        for group in (
            self._registered.get(f"{namespace}.{name}", ()),
            self._registered.get(name, ()),
            self._others.get(name, ()),
            self._list_versions_of_bare_name(name, namespace),
        ):
            fitting = [
                handler
                for handler in group
                if self._is_bound_to(handler, namespace) and _version_rank(handler, version)
            ]
            if fitting:
                return max(fitting, key=lambda handler: _preference_key(handler, version))
        return None

    def _is_bound_to(self, handler: Handler, namespace: str | None) -> bool:
        bound = self.bound_namespaces(handler)
        return namespace is None or namespace in bound or EVERY_NAMESPACE in bound

    def _list_versions_of_bare_name(self, name: str, namespace: str | None) -> Sequence[Handler]:
        """List the versions of a bare name if it is unambiguous."""
        group = [each for each in self._bare.get(name, ()) if self._is_bound_to(each, namespace)]
        return group if len({handler.name for handler in group}) == 1 else ()

    def compile_call_plan(
        self, template: Template, graph: Graph, spec: StepSpec
    ) -> CallPlan | None:
        """Compile the plan of a step, or return None if it has no handler here.

        Raises:
            Misuse: The handler has a parameter that this step cannot fill.
        """
        handler = self.find_handler(spec.handler, template.namespace, spec.handler_version)
        if handler is None:
            return None
        no = graph.numbers[spec.name]
        return compile_call_plan(
            handler,
            spec,
            upstream=UpstreamSteps.for_step(graph, no),
            template=template.key,
            around=EnclosingInstances.for_step(graph, no),
        )

    def not_found_error(
        self, name: str, namespace: str | None = None, version: str = ""
    ) -> HandlerNotFound:
        """Return an error that explains why `find_handler` returns None."""
        name = normalize_handler_name(name)
        if name == HTTP_HANDLER:
            return HandlerNotFound(NO_HTTP_WORKER)
        if offered := self._list_offered_versions(name, namespace):
            return HandlerNotFound(
                f"no registered version of handler {name!r} satisfies {version};"
                f" available here: {', '.join(offered)}"
            )
        if bound := self._list_namespaces_with_handler(name):
            return HandlerNotFound(
                f"handler {name!r} is not bound to namespace {namespace!r}, only to"
                f" {', '.join(sorted(bound))}"
            )
        several = sorted({handler.name for handler in self._bare.get(name, ())})
        if len(several) > 1:
            return HandlerNotFound(
                f"handler {name!r} is ambiguous: {' and '.join(several)} match; use the dotted"
                " path,"
                f' or register one with @handler("{name}")'
            )
        known = {*self._registered, *self._others, *self._bare}
        of = f" (namespace {namespace})" if namespace else ""
        hint = did_you_mean(name, known)
        if not hint:
            names = self.registered_names()
            some = [*names[:5], "..."] if len(names) > 5 else names
            hint = f"; registered: {', '.join(some) or 'none'}"
        return HandlerNotFound(f"handler {name!r}{of} not found{hint}")

    def _find_handlers_by_name(self, name: str, namespace: str | None = None) -> list[Handler]:
        """List the handlers that match `name`, regardless of their namespaces."""
        names = {name, f"{namespace}.{name}"}
        groups = (group.get(each, ()) for each in names for group in self._handler_groups())
        return [handler for group in groups for handler in group]

    def _handler_groups(self) -> tuple[_Groups, ...]:
        return self._registered, self._others

    def _list_offered_versions(self, name: str, namespace: str | None) -> list[str]:
        return sorted(
            handler.registration.version or "unversioned"
            for handler in self._find_handlers_by_name(name, namespace)
            if self._is_bound_to(handler, namespace)
        )

    def _list_namespaces_with_handler(self, name: str) -> set[str]:
        return {
            namespace
            for handler in (*self._find_handlers_by_name(name), *self._bare.get(name, ()))
            for namespace in self.bound_namespaces(handler) - {EVERY_NAMESPACE}
        }

    # -- listing

    def list_called_undecorated_names(self, templates: Iterable[Template]) -> frozenset[str]:
        """Return the names by which steps of `templates` find handlers that are not registered."""
        called = {
            (normalize_handler_name(spec.handler), template.namespace, spec.handler_version)
            for template in templates
            for spec in steps_with_handlers(template.steps)
        }
        return frozenset(
            call[0]
            for call in called
            if (handler := self.find_handler(*call)) is not None and not self.is_registered(handler)
        )

    def is_registered(self, handler: Handler) -> bool:
        """Return whether a handler was found by a registered name, not as a function or class."""
        return handler.name in self._registered

    def registered_names(self) -> tuple[str, ...]:
        """Return the registered names, sorted."""
        return tuple(sorted(self._registered))

    def iterate_names_and_handlers(self) -> Iterator[tuple[str, Handler]]:
        """Yield all handlers with each name by which templates find them."""
        for group in (self._registered, self._others, self._bare):
            for name, handlers in group.items():
                if group is not self._bare or len({each.name for each in handlers}) == 1:
                    for handler in handlers:
                        yield name, handler

    def list_registered(self) -> tuple[Handler, ...]:
        """Return the registered handlers by name; a handler with two names appears twice."""
        return tuple(
            handler for name in self.registered_names() for handler in self._registered[name]
        )

    def templates(self) -> tuple[Template, ...]:
        """Return the templates of the workflows among the sources.

        Raises:
            InvalidTemplate: A template is invalid.
        """
        return tuple(workflow.template for workflow in self._workflows)

    def watched_files(self) -> frozenset[Path]:
        """Return the files whose change requires a reload: those of the sources and their
        neighbours.
        """
        return frozenset(find_imported_files(set(self._roots)).values())

    def __len__(self) -> int:
        return sum(map(len, self._registered.values()))

    def __iter__(self) -> Iterator[Handler]:
        return iter(self.list_registered())

    def __contains__(self, name: str) -> bool:
        return self.find_handler(name) is not None

    def __repr__(self) -> str:
        return f"<Handlers {', '.join(self.registered_names()) or 'none registered'}>"


def _freeze_groups(groups: _Groups) -> _Groups:
    return MappingProxyType({name: tuple(group) for name, group in groups.items() if group})


def _iterate_handlers(groups: _Groups) -> Iterator[Handler]:
    return (handler for group in groups.values() for handler in group)


_EXACT, _IN_RANGE, _SERVES, _UNFIT = 3, 2, 1, 0


def _version_rank(handler: Handler, required: str) -> int:
    """Return the rank of a handler's version for a step's requirement."""
    _, version, _, serves = handler.registration
    if not required:
        return _IN_RANGE
    if version == required:
        return _EXACT
    if not version:
        return _UNFIT
    if not versions.is_exact_version(required):
        return _IN_RANGE if versions.matches(version, required) else _UNFIT
    earlier = versions.sort_key(required) < versions.sort_key(version)
    return _SERVES if serves and earlier and versions.matches(required, serves) else _UNFIT


def _preference_key(handler: Handler, required: str) -> tuple[bool, int, bool, object]:
    """Return a sort key: the best of several handlers has the greatest."""
    _, version, namespace, _ = handler.registration
    order = versions.sort_key(version or "0.0.0")
    return bool(namespace), _version_rank(handler, required), bool(version), order
