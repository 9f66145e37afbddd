"""The base class of handlers that call HTTP APIs."""

from tasker_core.step_handler.base import StepHandler
from tasker_core.step_handler.mixins.api import APIMixin, ApiResponse


class ApiHandler(APIMixin, StepHandler):
    """A handler that calls an HTTP API."""

    @property
    def capabilities(self) -> list[str]:
        """Its capabilities, for people."""
        return ["process", "http", "api"]


__all__ = ["ApiHandler", "ApiResponse"]
