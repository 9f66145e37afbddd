"""Events, webhooks and deliveries in responses."""

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.events import Delivery, Event, Webhook


@documented
class EventList(TypedDict):
    """Domain events, newest first."""

    events: list[Event]
    next_cursor: int | None
    """The `cursor` of the next page of older entries; null on the last page."""


class WebhookList(TypedDict):
    """Webhooks by namespace and name."""

    webhooks: list[Webhook]


@documented
class DeliveryList(TypedDict):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    next_cursor: int | None
    """The `cursor` of the next page of older entries; null on the last page."""


class WebhookDeleted(TypedDict):
    """The result of a deletion."""

    deleted: bool


class RedeliveryRequested(TypedDict):
    """The result of a request to send an event again."""

    status: str
