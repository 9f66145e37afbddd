"""A module with a subscriber, and no handlers."""

from tasker import Event, on_event


@on_event("payment.*", namespace="billing")
def audit(event: Event) -> None:
    """Do nothing."""
