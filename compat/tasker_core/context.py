"""The context that handlers get."""

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from tasker_core.models import TaskSequenceStepWrapper

NAMESPACE = UUID("7a1f6a5e-8f6f-4d0e-9a37-6f1f6c2b9a51")
"""Makes the UUIDs of steps, which have numbers here."""


class FfiStepEvent(BaseModel):
    """A step to execute, as nested data."""

    model_config = ConfigDict(frozen=True)

    event_id: str = ""
    task_uuid: str = ""
    step_uuid: str = ""
    correlation_id: str = ""
    task_correlation_id: str | None = None
    parent_correlation_id: str | None = None
    task_sequence_step: dict[str, Any] = {}
    trace_id: str | None = None
    span_id: str | None = None


def unwrap(value: Any) -> Any:
    """Return the result in the envelope of a dependency's result."""
    return value["result"] if isinstance(value, dict) and "result" in value else value


class StepContext:
    """One attempt of a step: its inputs, the results of earlier steps, its configuration.

    Args:
        fields: The attributes below; those that are missing are empty.
    """

    event: FfiStepEvent
    task_uuid: UUID
    step_uuid: UUID
    correlation_id: UUID
    handler_name: str
    input_data: dict[str, Any]
    """The task's context."""

    dependency_results: dict[str, Any]
    """Results of all earlier steps by name, each in an envelope with the key `result`."""

    step_config: dict[str, Any]
    """`handler.initialization` of the template."""

    step_inputs: dict[str, Any]
    """The cursor of a batch worker."""

    retry_count: int
    """Number of previous attempts."""

    max_retries: int
    """The most attempts, the first included."""

    __hash__ = None  # type: ignore[assignment]  # applications may change it

    def __init__(self, **fields: Any) -> None:
        unknown = set(fields) - set(StepContext.__annotations__)
        if unknown:
            raise ValueError(f"a StepContext has no {', '.join(sorted(unknown))}")
        defaults: dict[str, Any] = {
            "event": FfiStepEvent(),
            "task_uuid": uuid4(),
            "step_uuid": uuid4(),
            "correlation_id": uuid4(),
            "handler_name": "",
            "input_data": {},
            "dependency_results": {},
            "step_config": {},
            "step_inputs": {},
            "retry_count": 0,
            "max_retries": 3,
        }
        self.__dict__.update(defaults | fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StepContext) and self.__dict__ == other.__dict__

    @classmethod
    def from_ffi_event(cls, event: FfiStepEvent, handler_name: str) -> "StepContext":
        """Return the context of a step as nested data."""
        data = event.task_sequence_step
        task = data.get("task") or {}
        step = data.get("workflow_step") or {}
        handler = (data.get("step_definition") or {}).get("handler") or {}
        return cls(
            event=event,
            task_uuid=UUID(event.task_uuid),
            step_uuid=UUID(event.step_uuid),
            correlation_id=UUID(event.correlation_id),
            handler_name=handler_name,
            input_data=(task.get("task") or task).get("context") or {},
            dependency_results=data.get("dependency_results") or {},
            step_config=handler.get("initialization") or {},
            step_inputs=step.get("inputs") or {},
            retry_count=step.get("attempts") or 0,
            max_retries=step.get("max_attempts") or 3,
        )

    @classmethod
    def build(
        cls,
        *,
        input: dict[str, Any] | None = None,  # noqa: A002 - the word of the domain
        results: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        attempts: int = 0,
        max_attempts: int = 3,
        checkpoint: dict[str, Any] | None = None,
        handler_name: str = "",
    ) -> "StepContext":
        """Return a context for the test of a handler.

        Args:
            input: The task's context.
            results: Results of earlier steps by name, without envelopes.
            config: `handler.initialization`.
            inputs: The inputs of a batch worker.
            attempts: Number of previous attempts.
            max_attempts: The most attempts.
            checkpoint: What an earlier attempt saved.
            handler_name: Name of the handler.
        """
        ids = {"task_uuid": str(uuid4()), "step_uuid": str(uuid4()), "correlation_id": str(uuid4())}
        step = {
            "attempts": attempts,
            "max_attempts": max_attempts,
            "inputs": inputs or {},
            "checkpoint": checkpoint,
        }
        data = {
            "task": {"task": {"context": input or {}}},
            "workflow_step": step,
            "dependency_results": {
                name: envelope(value) for name, value in (results or {}).items()
            },
            "step_definition": {"handler": {"initialization": config or {}}},
        }
        event = FfiStepEvent(event_id=str(uuid4()), task_sequence_step=data, **ids)
        return cls.from_ffi_event(event, handler_name)

    # -- inputs

    def get_input(self, key: str) -> Any:
        """Return one input, or None."""
        return self.input_data.get(key)

    def get_input_or(self, key: str, default: Any = None) -> Any:
        """Return one input, or `default` if it is absent or None."""
        value = self.input_data.get(key)
        return default if value is None else value

    def get_config(self, key: str) -> Any:
        """Return one value of the step's configuration, or None."""
        return self.step_config.get(key)

    # -- results of earlier steps

    def get_dependency_result(self, step_name: str) -> Any:
        """Return the result of an earlier step, or None."""
        return unwrap(self.dependency_results.get(step_name))

    def get_dependency_field(self, step_name: str, *path: str) -> Any:
        """Return a part of the result of an earlier step, or None."""
        value = self.get_dependency_result(step_name)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def get_dependency_result_keys(self) -> list[str]:
        """Return the names of the earlier steps that have results."""
        return list(self.dependency_results)

    def get_all_dependency_results(self, prefix: str) -> list[Any]:
        """Return the results of earlier steps whose names begin with `prefix`."""
        named = (
            unwrap(v) for name, v in self.dependency_results.items() if name.startswith(prefix)
        )
        return [value for value in named if value is not None]

    # -- attempts and checkpoints

    def is_retry(self) -> bool:
        """Return whether there was an attempt before."""
        return self.retry_count > 0

    def is_last_retry(self) -> bool:
        """Return whether a failure of this attempt is final."""
        return self.retry_count >= self.max_retries - 1

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint of an earlier attempt, or None."""
        saved = (self.event.task_sequence_step.get("workflow_step") or {}).get("checkpoint")
        return saved if isinstance(saved, dict) else None

    @property
    def checkpoint_cursor(self) -> Any:
        """The position that an earlier attempt saved, or None."""
        return (self.checkpoint or {}).get("cursor")

    @property
    def checkpoint_items_processed(self) -> int:
        """The number of items that earlier attempts processed."""
        return int((self.checkpoint or {}).get("items_processed") or 0)

    @property
    def accumulated_results(self) -> dict[str, Any] | None:
        """The partial results that an earlier attempt saved, or None."""
        return (self.checkpoint or {}).get("accumulated_results")

    def has_checkpoint(self) -> bool:
        """Return whether an earlier attempt saved a position."""
        return self.checkpoint_cursor is not None

    @property
    def task_sequence_step(self) -> "TaskSequenceStepWrapper":
        """The same data in the shape of the Ruby handlers."""
        from tasker_core.models import TaskSequenceStepWrapper

        return TaskSequenceStepWrapper.from_dict(self.event.task_sequence_step)


def envelope(value: Any, step_uuid: str = "") -> dict[str, Any]:
    """Return a result in the envelope that dependents look into."""
    return {
        "step_uuid": step_uuid,
        "success": True,
        "result": value,
        "metadata": {},
        "status": "completed",
        "error": None,
        "orchestration_metadata": None,
    }
