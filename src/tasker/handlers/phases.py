"""Base classes of handlers with four phases: extract, execute, check, record."""

from abc import ABC, abstractmethod
from inspect import isawaitable
from typing import Any, NoReturn

from tasker.errors import AttemptCancelled, Misuse, PermanentError, StepError
from tasker.handlers.context import AsyncContext, SyncContext
from tasker.handlers.decorators import StepHandler

EXECUTED = "execute"
"""Name of the durable call that stores the outcome of the second and third phases."""


class FourPhaseHandler(StepHandler, ABC):
    """Base class of handlers with one external effect, whose phases may be `async`.

    The outcome of `execute` and `check` is stored before `record` runs. So if `record` fails, or
    the worker dies after the effect was confirmed, the next attempt continues with `record`.
    """

    @abstractmethod
    def extract(self, context: AsyncContext) -> Any:
        """Return what `execute` needs, from inputs and results.

        Any error except RetryableError fails the step permanently, because inputs do not change.
        """

    @abstractmethod
    def execute(self, context: AsyncContext, request: Any) -> Any:
        """Cause the external effect, using `context.idempotency_key`, and return the response."""

    def check(self, context: AsyncContext, response: Any) -> Any:
        """Return the outcome described by the response, or raise PermanentError or RetryableError.

        After a RetryableError, the next attempt calls `execute` again. The value is stored, so it
        must have a JSON form.
        """
        return response

    def record(self, context: AsyncContext, outcome: Any) -> Any:
        """Return the result of the step. If it raises, the next attempt runs only this phase."""
        return outcome

    async def call(self, context: AsyncContext) -> Any:
        """Run the phases."""
        outcome = await context.once(EXECUTED, self._run_phases_before_record, context)
        return await _await_if_needed(self.record(context, outcome))

    async def _run_phases_before_record(self, context: AsyncContext) -> Any:
        try:
            request = await _await_if_needed(self.extract(context))
        except Exception as error:
            _fail_permanently(error)
        response = await _await_if_needed(self.execute(context, request))
        return await _await_if_needed(self.check(context, response))


class SyncFourPhaseHandler(StepHandler, ABC):
    """`FourPhaseHandler` for handlers that are not `async`; its phases run in a thread."""

    @abstractmethod
    def extract(self, context: SyncContext) -> Any:
        """Return what `execute` needs; see `FourPhaseHandler.extract`."""

    @abstractmethod
    def execute(self, context: SyncContext, request: Any) -> Any:
        """Cause the external effect, and return the response."""

    def check(self, context: SyncContext, response: Any) -> Any:
        """Return the outcome described by the response; see `FourPhaseHandler.check`."""
        return response

    def record(self, context: SyncContext, outcome: Any) -> Any:
        """Return the result of the step. If it raises, the next attempt runs only this phase."""
        return outcome

    def call(self, context: SyncContext) -> Any:
        """Run the phases."""
        return self.record(context, context.once(EXECUTED, self._run_phases_before_record, context))

    def _run_phases_before_record(self, context: SyncContext) -> Any:
        try:
            request = self.extract(context)
        except Exception as error:
            _fail_permanently(error)
        return self.check(context, self.execute(context, request))


async def _await_if_needed(value: Any) -> Any:
    return await value if isawaitable(value) else value


def _fail_permanently(error: Exception) -> NoReturn:
    """Raise an error of the first phase again; as a PermanentError unless it is Tasker's own."""
    if isinstance(error, StepError | Misuse | AttemptCancelled):
        raise error
    raise PermanentError(
        f"{type(error).__name__}: {error}", code=getattr(error, "code", None) or "EXTRACT_FAILED"
    ) from error
