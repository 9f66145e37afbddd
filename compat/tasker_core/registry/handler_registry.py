"""The handlers of this process by name."""

import importlib
import inspect
import logging
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from tasker_core.environment import environment
from tasker_core.models import HandlerWrapper
from tasker_core.registry.resolvers import HandlerDefinition, ResolverChain
from tasker_core.step_handler.api import ApiHandler
from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.decision import DecisionHandler
from tasker_core.step_handler.functional import class_of_function
from tasker_core.template_discovery import HandlerDiscovery, TemplatePath, discover_template_files

log = logging.getLogger("tasker_core.registry")

_BASES = (StepHandler, ApiHandler, DecisionHandler)
_NAMES_IN_TESTS = ("handlers", "step_handler", "workflow", "test")


class HandlerRegistry:
    """The handlers of this process: workers use those of `HandlerRegistry.instance()`."""

    _instance: ClassVar[Self | None] = None

    def __init__(self) -> None:
        self._handlers: dict[str, type[Any]] = {}
        self._chain = ResolverChain.default()
        self._bootstrapped = False

    @classmethod
    def instance(cls, skip_bootstrap: bool = False) -> Self:
        """Return the registry of this process."""
        if cls._instance is None:
            cls._instance = cls()
            if not skip_bootstrap:
                cls._instance.bootstrap_handlers()
        return cls._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Forget the registry of this process."""
        cls._instance = None

    # -- registration

    def register(self, name: str, handler_class: type[Any]) -> None:
        """Register a class.

        Raises:
            ValueError: It is not a subclass of `StepHandler`.
        """
        if not (inspect.isclass(handler_class) and issubclass(handler_class, StepHandler)):
            raise ValueError(f"handler {name!r} must be a subclass of StepHandler")
        if self._handlers.get(name) not in (None, handler_class):
            log.warning("handler %s is registered again and replaces the earlier one", name)
        self._handlers[name] = handler_class
        self._chain.register(name, handler_class)

    def unregister(self, name: str) -> bool:
        """Forget a handler; return whether it was registered."""
        if self._chain.explicit_resolver is not None:
            self._chain.explicit_resolver.unregister(name)
        return self._handlers.pop(name, None) is not None

    def is_registered(self, name: str) -> bool:
        """Return whether a name is registered."""
        return name in self._handlers

    def list_handlers(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._handlers)

    def handler_count(self) -> int:
        """Return the number of registered names."""
        return len(self._handlers)

    def get_handler_class(self, name: str) -> type[Any] | None:
        """Return a registered class, or None."""
        return self._handlers.get(name)

    def clear(self) -> None:
        """Forget all handlers and resolvers."""
        self._handlers.clear()
        self._chain = ResolverChain.default()
        self._bootstrapped = False

    @property
    def resolver_chain(self) -> ResolverChain:
        """The resolvers; add yours with `add_resolver`."""
        return self._chain

    # -- finding

    def resolve(self, spec: str | HandlerDefinition | HandlerWrapper) -> Any:
        """Return a new instance of a handler, or None.

        Raises:
            ResolverNotFoundError: The definition names an unknown resolver.
        """
        if isinstance(spec, str):
            spec = HandlerDefinition(spec)
        elif isinstance(spec, HandlerWrapper):
            spec = HandlerDefinition(
                spec.callable, spec.handler_method, spec.resolver, spec.initialization
            )
        return self._chain.resolve(spec, spec.initialization)

    # -- discovery

    def discover_handlers(self, package_name: str, base_class: type | None = None) -> int:
        """Register the handlers of a package and of all its modules; return their number.

        A package or module that cannot be imported is logged and left out.

        Args:
            package_name: Its dotted name.
            base_class: The class of handlers; None: `StepHandler`.
        """
        try:
            package = importlib.import_module(package_name)
        except ImportError:
            log.exception(
                "the package %s cannot be imported; its handlers are missing", package_name
            )
            return 0
        count = self._register_all(_modules_of(package), base_class or StepHandler)
        log.info("%s: %d handlers", package_name, count)
        return count

    def discover_directory(self, folder: str | Path) -> int:
        """Register the handlers of all modules in a directory; return their number."""
        path = Path(folder).resolve()
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        return self.discover_handlers(path.name)

    def _register_all(self, modules: Iterator[ModuleType], base_class: type) -> int:
        seen: set[type] = set()
        for module in modules:
            for target in list(vars(module).values()):
                handler = class_of_function(target) or target
                if not (inspect.isclass(handler) and issubclass(handler, base_class)):
                    continue
                name = getattr(handler, "handler_name", "")
                if name and handler not in _BASES and handler not in seen:
                    seen.add(handler)
                    self.register(name, handler)
        return len(seen)

    def bootstrap_handlers(self) -> int:
        """Register the handlers that templates name by dotted path, once; return their number.

        In the environment `test`, those of imported modules first.
        """
        if self._bootstrapped:
            return 0
        self._bootstrapped = True
        count = 0
        if environment() == "test":
            named = [name for name in sys.modules if any(part in name for part in _NAMES_IN_TESTS)]
            modules = (sys.modules[name] for name in named if name.split(".")[0] != "tasker_core")
            count = self._register_all(modules, StepHandler)
        return count or self._register_by_path()

    def _register_by_path(self) -> int:
        folder = TemplatePath.find_template_config_directory()
        count = 0
        for name in HandlerDiscovery.discover_all_handlers(folder) if folder else []:
            handler = self._chain.resolve(HandlerDefinition(name)) if "." in name else None
            if isinstance(handler, StepHandler) and handler.handler_name:
                self.register(handler.handler_name, type(handler))
                count += 1
        return count

    def template_discovery_info(self) -> dict[str, Any]:
        """Return where templates are, and what they name."""
        folder = TemplatePath.find_template_config_directory()
        files: list[Path] = discover_template_files(folder) if folder else []
        return {
            "template_path": str(folder) if folder else None,
            "template_files": [str(file) for file in files],
            "discovered_handlers": HandlerDiscovery.discover_all_handlers(folder) if folder else [],
            "handlers_by_namespace": (
                HandlerDiscovery.discover_handlers_by_namespace(folder) if folder else {}
            ),
            "environment": environment(),
            "bootstrapped": self._bootstrapped,
        }


def _modules_of(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for info in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
        try:
            yield importlib.import_module(info.name)
        except Exception:
            log.exception("the module %s cannot be imported; its handlers are missing", info.name)
