"""Events inside this process, for monitoring."""

import logging
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Self

log = logging.getLogger("tasker_core.bridge")

Listener = Callable[..., Any]


class EventNames:
    """Names of events."""

    STEP_EXECUTION_RECEIVED = "step.execution.received"
    STEP_COMPLETION_SENT = "step.completion.sent"
    STEP_CHECKPOINT_YIELD_SENT = "step.checkpoint_yield.sent"
    HANDLER_REGISTERED = "handler.registered"
    HANDLER_ERROR = "handler.error"
    POLLER_METRICS = "poller.metrics"
    POLLER_ERROR = "poller.error"


class EventBridge:
    """Calls listeners with events while it is started."""

    _instance: ClassVar[Self | None] = None

    def __init__(self) -> None:
        self._listeners: dict[str, list[tuple[Listener, bool]]] = {}
        self._lock = threading.Lock()
        self._active = False

    @classmethod
    def instance(cls) -> Self:
        """Return the bridge of this process."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    @classmethod
    def reset_instance(cls) -> None:
        """Forget the bridge of this process."""
        cls._instance = None

    def start(self) -> None:
        """Start calling."""
        self._active = True

    def stop(self) -> None:
        """Stop calling, and forget all listeners."""
        self._active = False
        self._listeners.clear()

    @property
    def is_active(self) -> bool:
        """Whether it is started."""
        return self._active

    def subscribe(self, event: str, listener: Listener) -> None:
        """Call a function at each event of a name."""
        with self._lock:
            self._listeners.setdefault(event, []).append((listener, False))

    def subscribe_once(self, event: str, listener: Listener) -> None:
        """Call a function at the next event of a name."""
        with self._lock:
            self._listeners.setdefault(event, []).append((listener, True))

    def unsubscribe(self, event: str, listener: Listener) -> None:
        """No longer call a function."""
        with self._lock:
            left = [each for each in self._listeners.get(event, ()) if each[0] != listener]
            self._listeners[event] = left

    def publish(self, event: str, *arguments: Any, **named: Any) -> None:
        """Call the listeners of an event."""
        if not self._active:
            log.warning("the event bridge is not started; %s is dropped", event)
            return
        for listener, once in list(self._listeners.get(event, ())):
            if once:
                self.unsubscribe(event, listener)
            listener(*arguments, **named)

    def listeners(self, event: str) -> list[Listener]:
        """Return the listeners of an event."""
        return [listener for listener, _ in self._listeners.get(event, ())]

    def listener_count(self, event: str) -> int:
        """Return the number of listeners of an event."""
        return len(self.listeners(event))

    @property
    def event_schema(self) -> dict[str, str]:
        """The names of events."""
        return {key: name for key, name in vars(EventNames).items() if key.isupper()}
