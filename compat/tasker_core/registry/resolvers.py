"""Finds handlers by the names that templates use."""

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tasker_core.exceptions import TaskerError
from tasker_core.step_handler.functional import class_of_function


class ResolverNotFoundError(TaskerError, LookupError):
    """A template names a resolver that does not exist."""


class ResolutionError(TaskerError, LookupError):
    """Kept for imports: a handler that is not found resolves to None."""


@dataclass
class HandlerDefinition:
    """The handler of a step in its template."""

    callable: str
    handler_method: str | None = None
    resolver: str | None = None
    initialization: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_callable(cls, name: str) -> Self:
        """Return the definition of a name alone."""
        return cls(name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read it from a template's `handler`."""
        return cls(
            data["callable"],
            data.get("method"),
            data.get("resolver"),
            dict(data.get("initialization") or {}),
        )

    def effective_method(self) -> str:
        """Return the method that is called."""
        return self.handler_method or "call"

    def uses_method_dispatch(self) -> bool:
        """Return whether another method than `call` is called."""
        return self.effective_method() != "call"

    def has_resolver_hint(self) -> bool:
        """Return whether one resolver alone is asked."""
        return bool(self.resolver)


class MethodDispatchWrapper:
    """A handler whose `call` is another of its methods.

    Args:
        handler: The handler.
        target_method: The name of the method.

    Raises:
        AttributeError: The handler has no such method.
    """

    def __init__(self, handler: Any, target_method: str) -> None:
        self.handler = handler
        self.target_method = target_method
        self.call = getattr(handler, target_method)

    def unwrap(self) -> Any:
        """Return the handler."""
        return self.handler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.handler, name)


def instantiate(handler: Any, config: Mapping[str, Any] | None = None) -> Any:
    """Return a new instance of a handler's class; without arguments, else with `config`."""
    try:
        return handler()
    except TypeError:
        return handler(config=dict(config or {}))


class BaseResolver(ABC):
    """Finds handlers in one way. Resolvers of lower priority numbers are asked first."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name by which templates ask for this resolver alone."""

    @property
    @abstractmethod
    def priority(self) -> int:
        """Its position among all resolvers."""

    @abstractmethod
    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether it knows the handler."""

    @abstractmethod
    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return an instance of the handler, or None."""

    def registered_callables(self) -> list[str]:
        """Return the names that it knows."""
        return []


class RegistryResolver(BaseResolver):
    """Base of resolvers for names of one pattern or prefix: override `resolve_handler`."""

    _name: str = "custom_resolver"
    _priority: int = 50
    pattern: str | None = None
    """Regular expression for the beginning of names."""

    prefix: str | None = None

    @property
    def name(self) -> str:
        """The name by which templates ask for this resolver alone."""
        return self._name

    @property
    def priority(self) -> int:
        """Its position among all resolvers."""
        return self._priority

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether the name matches."""
        return self._match_pattern(definition.callable)

    def _match_pattern(self, callable_str: str) -> bool:
        if self.pattern is not None:
            return re.match(self.pattern, callable_str) is not None
        return self.prefix is not None and callable_str.startswith(self.prefix)

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return an instance of the handler, or None."""
        if not self.can_resolve(definition, config):
            return None
        return self.resolve_handler(definition, config)

    def resolve_handler(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> Any:
        """Return an instance of the handler, or None."""
        raise NotImplementedError(f"{type(self).__name__} does not define resolve_handler")


class ExplicitMappingResolver(BaseResolver):
    """Finds handlers among those that were registered by name."""

    def __init__(self, name: str = "explicit_mapping") -> None:
        self._name = name
        self._handlers: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The name by which templates ask for this resolver alone."""
        return self._name

    @property
    def priority(self) -> int:
        """Its position among all resolvers."""
        return 10

    def register(self, key: str, handler: Any) -> None:
        """Register a class, a function that makes a handler, or a handler."""
        self._handlers[key] = handler

    def unregister(self, key: str) -> bool:
        """Forget a handler; return whether it was known."""
        return self._handlers.pop(key, None) is not None

    def get(self, key: str) -> Any:
        """Return what was registered, or None."""
        return self._handlers.get(key)

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether the name was registered."""
        return definition.callable in self._handlers

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return an instance of the handler, or None."""
        handler = self._handlers.get(definition.callable)
        given = config if config is not None else definition.initialization
        if isinstance(handler, type):
            return instantiate(handler, given)
        if callable(handler) and not hasattr(handler, "call"):
            return handler(given)
        return handler

    def registered_callables(self) -> list[str]:
        """Return the registered names."""
        return sorted(self._handlers)


class ClassLookupResolver(BaseResolver):
    """Finds handlers by dotted path: of a class, or of a decorated function."""

    @property
    def name(self) -> str:
        """The name by which templates ask for this resolver alone."""
        return "class_lookup"

    @property
    def priority(self) -> int:
        """Its position among all resolvers."""
        return 100

    def find(self, path: str) -> type | None:
        """Return the class of a dotted path, or None."""
        module, _, name = path.rpartition(".")
        if not module:
            return None
        try:
            target = getattr(importlib.import_module(module), name, None)
        except ImportError:
            return None
        target = class_of_function(target) or target
        return target if isinstance(target, type) and hasattr(target, "call") else None

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether the path leads to a handler."""
        return self.find(definition.callable) is not None

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return an instance of the handler, or None."""
        handler = self.find(definition.callable)
        given = config if config is not None else definition.initialization
        return None if handler is None else instantiate(handler, given)


class ResolverChain:
    """Asks resolvers in the order of their priorities."""

    def __init__(self) -> None:
        self._resolvers: list[BaseResolver] = []

    @classmethod
    def default(cls) -> Self:
        """Return the chain of registered names and dotted paths."""
        return cls().add_resolver(ExplicitMappingResolver()).add_resolver(ClassLookupResolver())

    def add_resolver(self, resolver: BaseResolver) -> Self:
        """Add a resolver."""
        self._resolvers = sorted([*self._resolvers, resolver], key=lambda each: each.priority)
        return self

    def remove_resolver(self, name: str) -> bool:
        """Remove a resolver; return whether there was one of that name."""
        kept = [each for each in self._resolvers if each.name != name]
        removed = len(kept) < len(self._resolvers)
        self._resolvers = kept
        return removed

    def get_resolver(self, name: str) -> BaseResolver | None:
        """Return the resolver of a name, or None."""
        return next((each for each in self._resolvers if each.name == name), None)

    @property
    def explicit_resolver(self) -> ExplicitMappingResolver | None:
        """The resolver of registered names, or None."""
        mapping = (each for each in self._resolvers if isinstance(each, ExplicitMappingResolver))
        return next(mapping, None)

    def registered_class(self, name: str) -> type | None:
        """Return the class registered under a name, unless another resolver is asked before."""
        first = self._resolvers[0] if self._resolvers else None
        handler = first.get(name) if isinstance(first, ExplicitMappingResolver) else None
        return handler if isinstance(handler, type) else None

    def register(self, key: str, handler: Any) -> Self:
        """Register a handler by name.

        Raises:
            RuntimeError: The chain has no `ExplicitMappingResolver`.
        """
        if self.explicit_resolver is None:
            raise RuntimeError("this chain has no ExplicitMappingResolver to register handlers in")
        self.explicit_resolver.register(key, handler)
        return self

    def _candidates(self, definition: HandlerDefinition) -> list[BaseResolver]:
        if not definition.resolver:
            return self._resolvers
        hinted = self.get_resolver(definition.resolver)
        if hinted is None:
            raise ResolverNotFoundError(
                f"resolver {definition.resolver!r} does not exist; there are"
                f" {', '.join(self.resolver_names) or 'none'}"
            )
        return [hinted]

    def resolve(self, definition: HandlerDefinition, config: dict[str, Any] | None = None) -> Any:
        """Return an instance of the handler with its method, or None.

        Raises:
            ResolverNotFoundError: The definition names an unknown resolver.
        """
        for resolver in self._candidates(definition):
            handler = resolver.resolve(definition, config)
            if handler is not None:
                return self.wrap_for_method_dispatch(handler, definition)
        return None

    def can_resolve(
        self, definition: HandlerDefinition, config: dict[str, Any] | None = None
    ) -> bool:
        """Return whether a resolver knows the handler."""
        try:
            return any(
                each.can_resolve(definition, config) for each in self._candidates(definition)
            )
        except ResolverNotFoundError:
            return False

    def wrap_for_method_dispatch(self, handler: Any, definition: HandlerDefinition) -> Any:
        """Return the handler, wrapped if another method is called; None: it has no such method."""
        if not definition.uses_method_dispatch():
            return handler
        try:
            return MethodDispatchWrapper(handler, definition.effective_method())
        except AttributeError:
            return None

    def registered_callables(self) -> list[str]:
        """Return all names that resolvers know."""
        return sorted({name for each in self._resolvers for name in each.registered_callables()})

    def chain_info(self) -> list[dict[str, Any]]:
        """Return name, priority and number of names of each resolver."""
        return [
            {
                "name": each.name,
                "priority": each.priority,
                "callables": len(each.registered_callables()),
            }
            for each in self._resolvers
        ]

    @property
    def resolver_names(self) -> list[str]:
        """The names of the resolvers."""
        return [each.name for each in self._resolvers]

    def list_resolvers(self) -> list[tuple[str, int]]:
        """Return name and priority of each resolver."""
        return [(each.name, each.priority) for each in self._resolvers]

    def __len__(self) -> int:
        return len(self._resolvers)
