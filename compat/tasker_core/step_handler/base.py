"""The base class of handlers."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, TypeAlias

from tasker_core.context import StepContext
from tasker_core.results import StepHandlerResult

StepHandlerCallResult: TypeAlias = StepHandlerResult | Awaitable[StepHandlerResult]


class StepHandler(ABC):
    """A handler: every attempt gets its own instance."""

    handler_name: str = ""
    """The name that templates use."""

    handler_version: str = "1.0.0"

    @abstractmethod
    def call(self, context: StepContext) -> Any:
        """Do the step's work; may be `async def`."""

    @property
    def name(self) -> str:
        """The handler's name."""
        return self.handler_name or type(self).__name__

    @property
    def version(self) -> str:
        """The version of its code."""
        return self.handler_version

    @property
    def capabilities(self) -> list[str]:
        """Its capabilities, for people."""
        return ["process"]

    def config_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of its configuration, or None."""
        return None

    def success(
        self, result: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> StepHandlerResult:
        """Return a success."""
        return StepHandlerResult.make_success(result, metadata)

    def failure(
        self,
        message: str,
        error_type: str = "handler_error",
        retryable: bool = True,
        metadata: dict[str, Any] | None = None,
        error_code: str | None = None,
    ) -> StepHandlerResult:
        """Return a failure: see `StepHandlerResult.failure`."""
        return StepHandlerResult.failure(message, error_type, retryable, metadata, error_code)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, version={self.version!r})"
