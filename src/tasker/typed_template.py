"""Templates with Python types for the inputs and the result of their tasks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic

from typing_extensions import TypeVar

from tasker.model import Task, Template

In = TypeVar("In", default=Mapping[str, Any])
Out = TypeVar("Out", default=Any, covariant=True)  # noqa: PLC0105, as users read it


class TypedTemplate(ABC, Generic[In, Out]):
    """A template from which clients create typed tasks, such as a `Workflow`."""

    @property
    @abstractmethod
    def template(self) -> Template:
        """The complete template. Raises InvalidTemplate."""

    @abstractmethod
    def make_context(self, input: In) -> Mapping[str, Any]:  # noqa: A002 - it is a task's input
        """Return the context of a task with this input. Raises InvalidInput."""

    @abstractmethod
    def convert_result(self, value: Any) -> Out:
        """Return the result of a task, converted to the declared type.

        Raises pydantic.ValidationError.
        """

    def result_of_task(self, task: Task) -> Out:
        """Return the result of a complete task. Raises pydantic.ValidationError."""
        return self.convert_result(task.result)
