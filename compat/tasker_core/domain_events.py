"""Domain events: publishers and subscribers.

Steps publish the events that their template declares. Subscribers of every process with a worker
get all of them, as long as it runs.
"""

import fnmatch
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, Field

from tasker.events import Event
from tasker_core.context import StepContext

log = logging.getLogger("tasker_core.events")


class DomainEventMetadata(BaseModel):
    """Which step published an event."""

    task_uuid: str = ""
    step_uuid: str | None = None
    step_name: str | None = None
    namespace: str = "default"
    correlation_id: str = ""
    fired_at: str = ""
    fired_by: str = ""


class ExecutionResult(BaseModel):
    """The outcome of the step that published an event."""

    success: bool = True
    result: Any = None
    status: str = "completed"


class InProcessDomainEvent(BaseModel):
    """An event."""

    event_id: str
    event_name: str
    event_version: str = "1.0.0"
    metadata: DomainEventMetadata
    payload: Any = None
    execution_result: ExecutionResult | None = None


class EventDeclaration(BaseModel):
    """An event that a template declares."""

    name: str
    condition: (
        Literal["success", "failure", "retryable_failure", "permanent_failure", "always"] | None
    ) = None
    delivery_mode: Literal["durable", "fast", "broadcast"] | None = None
    publisher: str | None = None
    event_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class StepResult(BaseModel):
    """The result of a step."""

    success: bool
    result: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class StepEventContext(BaseModel):
    """The step for which a publisher publishes."""

    task_uuid: str
    step_uuid: str
    step_name: str
    namespace: str
    correlation_id: str
    result: dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_step_context(
        cls, context: StepContext, result: dict[str, Any] | None = None
    ) -> "StepEventContext":
        """Return that of a handler's context."""
        data = context.event.task_sequence_step
        return cls(
            task_uuid=str(context.task_uuid),
            step_uuid=str(context.step_uuid),
            step_name=(data.get("workflow_step") or {}).get("name", ""),
            namespace=(data.get("task") or {}).get("namespace_name", "default"),
            correlation_id=str(context.correlation_id),
            result=result,
        )


class PublishContext(BaseModel):
    """All that is known when an event is published."""

    event_name: str
    step_result: StepResult | None = None
    event_declaration: EventDeclaration | None = None
    step_context: StepEventContext | None = None


# -------------------------------------------------------------------- delivery

EventCallback = Callable[[InProcessDomainEvent], None]
ErrorCallback = Callable[[Exception], None]


class InProcessDomainEventPoller:
    """Calls functions with the events of this process's worker while it is started.

    Args:
        polling_interval_ms: Without meaning here: events are not polled.
        max_events_per_poll: Without meaning here.
    """

    _started: ClassVar[set["InProcessDomainEventPoller"]] = set()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, polling_interval_ms: int = 10, max_events_per_poll: int = 100) -> None:
        self._callbacks: list[EventCallback] = []
        self._error_callbacks: list[ErrorCallback] = []
        self._processed = 0

    def on_event(self, callback: EventCallback) -> None:
        """Call a function with each event."""
        self._callbacks.append(callback)

    def off_event(self, callback: EventCallback) -> None:
        """No longer call a function."""
        self._callbacks = [each for each in self._callbacks if each != callback]

    def on_error(self, callback: ErrorCallback) -> None:
        """Call a function with each exception of the functions of events."""
        self._error_callbacks.append(callback)

    def start(self) -> None:
        """Start calling.

        Raises:
            RuntimeError: It is started.
        """
        with self._lock:
            if self in self._started:
                raise RuntimeError("the poller is running")
            self._started.add(self)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop calling."""
        with self._lock:
            self._started.discard(self)

    @property
    def is_running(self) -> bool:
        """Whether it is started."""
        return self in self._started

    @property
    def stats(self) -> dict[str, int]:
        """How many events there were."""
        return {
            "poll_count": self._processed,
            "events_processed": self._processed,
            "events_lagged": 0,
        }

    def deliver(self, event: InProcessDomainEvent) -> None:
        """Call the functions with an event; their exceptions go to `on_error`, or to the log."""
        self._processed += 1
        for callback in list(self._callbacks):
            try:
                callback(event)
            except Exception as error:
                for report in self._error_callbacks:
                    report(error)
                if not self._error_callbacks:
                    log.exception("a subscriber of %s failed", event.event_name)


def deliver(event: InProcessDomainEvent) -> None:
    """Give an event to all started pollers."""
    for poller in list(InProcessDomainEventPoller._started):
        poller.deliver(event)


def dispatch(event: Event) -> None:
    """Give an event of the engine to all started pollers."""
    metadata = DomainEventMetadata(
        task_uuid=event.task_id,
        step_name=event.step,
        namespace=event.namespace,
        correlation_id=event.correlation_id,
        fired_at=event.at.isoformat(),
        fired_by=event.step,
    )
    deliver(
        InProcessDomainEvent(
            event_id=event.id, event_name=event.name, metadata=metadata, payload=event.payload
        )
    )


# ------------------------------------------------------------------ publishers


class BasePublisher(ABC):
    """Publishes events to the subscribers of this process; its hooks decide what they contain."""

    @property
    @abstractmethod
    def publisher_name(self) -> str:
        """Its name."""

    def should_publish(self, ctx: StepEventContext) -> bool:
        """Return whether an event is published."""
        return True

    def transform_payload(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return what the event contains."""
        return ctx.result or {}

    def additional_metadata(self, ctx: StepEventContext) -> dict[str, Any]:
        """Return further metadata."""
        return {}

    def before_publish(
        self, event_name: str, payload: dict[str, Any], metadata: dict[str, Any]
    ) -> bool:
        """Return whether the event is published after all."""
        return True

    def after_publish(  # noqa: B027 - a hook
        self, event_name: str, payload: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Do something after an event was published."""

    def on_publish_error(self, event_name: str, error: Exception, payload: dict[str, Any]) -> None:
        """Do something after a hook or subscriber has failed."""
        log.error("publishing %s failed: %s", event_name, error)

    def publish(self, ctx: StepEventContext, event_name: str | None = None) -> bool:
        """Publish an event to the subscribers of this process; return whether it was."""
        if not self.should_publish(ctx):
            return False
        name = event_name or f"{ctx.step_name}.completed"
        payload = self.transform_payload(ctx)
        metadata = {**ctx.metadata, **self.additional_metadata(ctx)}
        try:
            if not self.before_publish(name, payload, metadata):
                return False
            deliver(self._event(ctx, name, payload))
            self.after_publish(name, payload, metadata)
        except Exception as error:
            self.on_publish_error(name, error, payload)
            return False
        return True

    def _event(
        self, ctx: StepEventContext, name: str, payload: dict[str, Any]
    ) -> InProcessDomainEvent:
        metadata = DomainEventMetadata(
            task_uuid=ctx.task_uuid,
            step_uuid=ctx.step_uuid,
            step_name=ctx.step_name,
            namespace=ctx.namespace,
            correlation_id=ctx.correlation_id,
            fired_at=datetime.now(UTC).isoformat(),
            fired_by=self.publisher_name,
        )
        return InProcessDomainEvent(
            event_id=str(uuid4()), event_name=name, metadata=metadata, payload=payload
        )


class DefaultPublisher(BasePublisher):
    """Publishes the result of the step."""

    @property
    def publisher_name(self) -> str:
        """Its name."""
        return "default"


class PublisherRegistry:
    """The publishers of this process by name."""

    _instance: ClassVar[Self | None] = None

    def __init__(self) -> None:
        self._publishers: dict[str, BasePublisher] = {}
        self._frozen = False

    @classmethod
    def instance(cls) -> Self:
        """Return the registry of this process."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    @classmethod
    def reset(cls) -> None:
        """Forget the registry of this process."""
        cls._instance = None

    def register(self, publisher: BasePublisher, name: str | None = None) -> None:
        """Add a publisher.

        Raises:
            ValueError: It is a class rather than an instance.
            RuntimeError: The registry is frozen.
        """
        if not isinstance(publisher, BasePublisher):
            raise ValueError("register an instance of a BasePublisher")
        if self._frozen:
            raise RuntimeError("the registry of publishers is frozen")
        self._publishers[name or publisher.publisher_name] = publisher

    def get(self, name: str) -> BasePublisher | None:
        """Return a publisher, or None."""
        return self._publishers.get(name)

    def get_or_default(self, name: str | None = None) -> BasePublisher:
        """Return a publisher, or the default one."""
        return self._publishers.get(name or "default") or DefaultPublisher()

    def validate_required(self, names: Iterable[str]) -> list[str]:
        """Return those names that have no publisher."""
        return [name for name in names if name not in self._publishers]

    def freeze(self) -> None:
        """Allow no further publishers."""
        self._frozen = True

    def unfreeze(self) -> None:
        """Allow further publishers again."""
        self._frozen = False

    @property
    def is_frozen(self) -> bool:
        """Whether it allows no further publishers."""
        return self._frozen

    def list_publishers(self) -> list[str]:
        """Return the names."""
        return sorted(self._publishers)

    def clear(self) -> None:
        """Forget all publishers."""
        self._publishers.clear()
        self._frozen = False


# ----------------------------------------------------------------- subscribers


class BaseSubscriber(ABC):
    """Handles events while it is started."""

    def __init__(self) -> None:
        self._poller: InProcessDomainEventPoller | None = None

    @classmethod
    @abstractmethod
    def subscribes_to(cls) -> list[str]:
        """Return names of events, or patterns such as `payment.*`."""

    @abstractmethod
    def handle(self, event: dict[str, Any]) -> Any:
        """Handle an event, given as JSON data."""

    def before_handle(self, event: dict[str, Any]) -> bool:
        """Return whether the event is handled."""
        return True

    def after_handle(self, event: dict[str, Any]) -> None:  # noqa: B027 - a hook
        """Do something after an event was handled."""

    def on_handle_error(self, event: dict[str, Any], error: Exception) -> None:
        """Do something after `handle` has failed."""
        log.error("%s failed on %s: %s", type(self).__name__, event.get("event_name"), error)

    def matches(self, name: str) -> bool:
        """Return whether it subscribes to an event."""
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.subscribes_to())

    @property
    def subscriptions(self) -> list[str]:
        """The names and patterns."""
        return self.subscribes_to()

    @property
    def active(self) -> bool:
        """Whether it is started."""
        return getattr(self, "_poller", None) is not None

    def start(self, poller: InProcessDomainEventPoller) -> None:
        """Handle the events of a poller."""
        if not self.active:
            self._poller = poller
            poller.on_event(self._receive)

    def stop(self) -> None:
        """Handle no more events."""
        poller, self._poller = getattr(self, "_poller", None), None
        if poller is not None:
            poller.off_event(self._receive)

    def _receive(self, event: InProcessDomainEvent) -> None:
        if self.matches(event.event_name):
            self.handle_event_safely(event.model_dump())

    def handle_event_safely(self, event: dict[str, Any]) -> None:
        """Handle an event; exceptions go to `on_handle_error`."""
        try:
            if self.before_handle(event):
                self.handle(event)
                self.after_handle(event)
        except Exception as error:
            self.on_handle_error(event, error)


class SubscriberRegistry:
    """The subscribers of this process."""

    _instance: ClassVar[Self | None] = None

    def __init__(self) -> None:
        self._subscribers: dict[str, BaseSubscriber] = {}
        self._own_poller: InProcessDomainEventPoller | None = None

    @classmethod
    def instance(cls) -> Self:
        """Return the registry of this process."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    @classmethod
    def reset(cls) -> None:
        """Stop all subscribers, and forget the registry of this process."""
        if cls._instance is not None:
            cls._instance.stop_all()
        cls._instance = None

    def register(self, subscriber: type[BaseSubscriber]) -> None:
        """Add a subscriber of a class."""
        self.register_instance(subscriber())

    def register_instance(self, subscriber: BaseSubscriber, name: str | None = None) -> None:
        """Add a subscriber."""
        self._subscribers[name or type(subscriber).__name__] = subscriber

    def start_all(self, poller: InProcessDomainEventPoller | None = None) -> int:
        """Start all subscribers and return their number; without a poller they get their own."""
        if poller is None:
            poller = self._own_poller = self._own_poller or InProcessDomainEventPoller()
            if not poller.is_running:
                poller.start()
        for subscriber in self._subscribers.values():
            subscriber.start(poller)
        return len(self._subscribers)

    def stop_all(self) -> None:
        """Stop all subscribers."""
        for subscriber in self._subscribers.values():
            subscriber.stop()
        if self._own_poller is not None:
            self._own_poller.stop()

    def list_registered(self) -> list[str]:
        """Return the names."""
        return sorted(self._subscribers)

    @property
    def active_count(self) -> int:
        """How many are started."""
        return sum(subscriber.active for subscriber in self._subscribers.values())

    @property
    def stats(self) -> dict[str, int]:
        """How many there are, and how many are started."""
        return {"registered": len(self._subscribers), "active": self.active_count}

    def clear(self) -> None:
        """Stop and forget all subscribers."""
        self.stop_all()
        self._subscribers.clear()
