"""A step and its task in the shape that Ruby handlers get."""

from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tasker_core.context import unwrap


def _known(cls: Any, data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return those members of `data` that a class has and that are not None."""
    names = {each.name for each in fields(cls)}
    return {key: value for key, value in (data or {}).items() if key in names and value is not None}


@dataclass
class HandlerWrapper:
    """The handler of a step in its template."""

    callable: str = ""
    initialization: dict[str, Any] = field(default_factory=dict)
    handler_method: str | None = None
    resolver: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read it from a template's `handler`."""
        given = dict(data or {})
        given["handler_method"] = given.get("method")
        return cls(**_known(cls, given))


@dataclass
class StepDefinitionWrapper:
    """A step in its template."""

    name: str = ""
    description: str = ""
    handler: HandlerWrapper = field(default_factory=HandlerWrapper)
    dependencies: list[str] = field(default_factory=list)
    retry: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 30
    publishes_events: list[Any] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read it from a template's step."""
        known = _known(cls, data)
        known["handler"] = HandlerWrapper.from_dict((data or {}).get("handler"))
        return cls(**known)


@dataclass
class WorkflowStepWrapper:
    """A step of a task."""

    workflow_step_uuid: str = ""
    task_uuid: str = ""
    name: str = ""
    named_step_uuid: str | None = None
    retryable: bool = True
    max_attempts: int = 3
    in_process: bool = False
    processed: bool = False
    processed_at: str | None = None
    attempts: int = 0
    last_attempted_at: str | None = None
    backoff_request_seconds: int = 0
    inputs: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    created_at: str | None = None
    updated_at: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read it from nested data."""
        return cls(**_known(cls, data))


@dataclass
class TaskWrapper:
    """A task."""

    task_uuid: str = ""
    context: dict[str, Any] = field(default_factory=dict)
    namespace_name: str = ""
    task_name: str = ""
    task_version: str = ""
    correlation_id: str | None = None
    parent_correlation_id: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read it from nested data: with an inner `task`, or flat."""
        outer = dict(data or {})
        return cls(**_known(cls, outer | (outer.get("task") or {})))


class DependencyResultsWrapper:
    """Results of earlier steps by name."""

    def __init__(self, results: Mapping[str, Any] | None = None) -> None:
        self._results = dict(results or {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read them from nested data."""
        return cls(data)

    def get_result(self, name: str) -> Any:
        """Return the envelope of a result, or None."""
        return self._results.get(name)

    def get_results(self, name: str) -> Any:
        """Return a result without its envelope, or None."""
        return unwrap(self._results.get(name))

    def __getitem__(self, name: str) -> Any:
        return self.get_result(name)

    def __contains__(self, name: object) -> bool:
        return name in self._results

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def keys(self) -> KeysView[str]:
        """Return the names of the steps."""
        return self._results.keys()


@dataclass
class TaskSequenceStepWrapper:
    """A step with its task and the results of earlier steps."""

    task: TaskWrapper
    workflow_step: WorkflowStepWrapper
    dependency_results: DependencyResultsWrapper
    step_definition: StepDefinitionWrapper

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Self:
        """Read it from nested data."""
        given = data or {}
        return cls(
            TaskWrapper.from_dict(given.get("task")),
            WorkflowStepWrapper.from_dict(given.get("workflow_step")),
            DependencyResultsWrapper.from_dict(given.get("dependency_results")),
            StepDefinitionWrapper.from_dict(given.get("step_definition")),
        )

    def get_task_field(self, name: str) -> Any:
        """Return one input of the task, or None."""
        return self.task.context.get(name)

    def get_dependency_result(self, name: str) -> Any:
        """Return the envelope of the result of an earlier step, or None."""
        return self.dependency_results.get_result(name)

    def get_results(self, name: str) -> Any:
        """Return the result of an earlier step, or None."""
        return self.dependency_results.get_results(name)
