"""Domain events, their subscriptions and their deliveries."""

import base64
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, NewType, TypeAlias
from urllib.parse import urlsplit

from tasker import limits
from tasker.errors import InvalidInput
from tasker.model import NAMESPACE, NAMESPACE_RULE, AttemptOutcome, TaskId

EventNo = NewType("EventNo", int)
"""Sequence number of an event in the outbox; the sequence has gaps."""

SubscriptionId = NewType("SubscriptionId", int)
DeliveryId = NewType("DeliveryId", int)

ALL_NAMESPACES = "*"  #: namespace of a subscription to the events of all namespaces
DEFAULT_NAMESPACE = "default"
INCLUDABLE = ("context", "result")  #: what webhooks may get besides the event
SECRET_PREFIX = "whsec_"  # noqa: S105
"""Prefix of a webhook's signing key."""

WEBHOOK_TIMEOUT = 10.0  #: seconds of one request

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_NAME_RULE = "use letters, digits, _ and -, starting with a letter or _ (at most 128 characters)"
_URL = re.compile(r"[!-~]+")
_PATTERN = re.compile(r"\*|[A-Za-z_][A-Za-z0-9_.-]{0,127}(\.\*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A domain event: a business fact that an attempt of a step published with its outcome, or the
    end of a task."""

    no: EventNo
    id: str = field(init=False, default="")
    """The event's id, `task:step number:attempt:name`, by which consumers recognize repeated
    deliveries."""

    name: str
    namespace: str
    template: str
    version: str
    task_id: TaskId
    step: str
    """The name of the step; "" if the event reports the end of a task."""

    step_no: int
    """The number of the step; 0 if the event reports the end of a task."""

    attempt: int
    """The number of the attempt or, if the event reports the end of a task, the number of times
    that the task has ended."""

    outcome: AttemptOutcome
    at: datetime
    """When the outcome was stored."""

    duration: float | None
    """Seconds that the attempt took or, if the event reports the end of a task, that the task took
    from its creation to its end. None if the duration is unknown, because the worker was lost or an
    operator acted."""

    correlation_id: str
    payload: Any
    context: Any = None
    """The task's context; None if a list returned the event or the task has been pruned."""

    result: Any = None
    """The step's result; None if a list returned the event, the step failed or the task has been
    pruned."""

    def __post_init__(self) -> None:
        name = f"{self.task_id}:{self.step_no}:{self.attempt}:{self.name}"
        object.__setattr__(self, "id", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Filters of a list of events, combined with AND; None means no filter."""

    namespace: str | None = None
    name: str | None = None
    """A name, or a prefix such as `payment.*`."""

    task_id: str | None = None
    visible: frozenset[str] | None = None
    """Namespaces that the caller may see; set by servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubscription:
    """A subscription of code in workers: one of their processes receives each event."""

    namespace: str
    """Namespace of the events; `*` means all namespaces."""

    name: str
    events: tuple[str, ...]
    """Event names, or prefixes such as `payment.*`."""


class DeliveryStatus(StrEnum):
    """Status of a delivery."""

    PENDING = "pending"  #: to be delivered at `next_at`, or being delivered
    DELIVERED = "delivered"
    DEAD = "dead"  #: no longer retried; can be sent again


class ClaimedDelivery(NamedTuple):
    """A delivery that a process has claimed."""

    id: DeliveryId
    subscription: SubscriptionId
    attempt: int  #: the fence: only this attempt may settle the delivery
    since: datetime  #: of the first attempt
    event: Event


class DeliveryAttemptResult(NamedTuple):
    """What the endpoint or the subscriber responded to an attempt to deliver an event."""

    status: int | None  #: HTTP status; None: no response, or a subscriber
    error: str  #: "" after a success
    retry_after: float = 0.0  #: seconds that the endpoint asks to wait


class DeliveryOutcome(NamedTuple):
    """The record of an attempt to deliver an event, to settle its delivery with."""

    id: DeliveryId
    attempt: int
    status: DeliveryStatus
    delay: float  #: seconds until the next attempt, if there is one
    ran_for: float  #: seconds
    response: int | None  #: HTTP status
    error: str  #: "" after a success

    @property
    def is_endpoint_available(self) -> bool:
        """Whether the endpoint is available: it responded with a status other than 429 or 5xx."""
        response = self.response or 500
        return not self.error or (response < 500 and response != 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One attempt to deliver an event."""

    at: datetime
    duration: float
    """Seconds."""

    response: int | None
    """HTTP status of the response, or None if there was no response."""

    error: str
    """"" after a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The sending of an event to a webhook or a subscriber, with the log of its attempts."""

    id: DeliveryId
    subscription: str
    """Name of the webhook or of the subscriber."""

    namespace: str
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    next_at: datetime | None
    settled_at: datetime | None
    event_id: str
    event_name: str
    task_id: TaskId
    log: tuple[DeliveryAttempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A webhook or a subscriber with its backlog."""

    id: SubscriptionId
    namespace: str
    name: str
    events: tuple[str, ...]
    """Event names, or prefixes such as `payment.*`."""

    url: str | None
    """The webhook's URL; None for a subscriber, which is a function that workers call."""

    pending: int
    dead: int
    oldest_pending: datetime | None
    created_by: str
    created_at: datetime
    served_at: datetime | None
    """Time at which a process last served the subscriber; None for a webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """A webhook to store."""

    namespace: str
    name: str
    url: str
    events: tuple[str, ...]
    """Event names, or prefixes such as `payment.*`."""

    include: tuple[str, ...] = ()
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An HTTP endpoint that receives events."""

    namespace: str
    name: str
    url: str
    events: tuple[str, ...]
    """Event names, or prefixes such as `payment.*`."""

    include: tuple[str, ...]
    """Additional data that the webhook's requests contain: `context`, `result` or both."""

    paused: bool
    pending: int
    dead: int
    created_by: str
    created_at: datetime
    secret: str | None = field(default=None, repr=False)
    """The signing key. Only the response that creates or replaces the key contains it."""

    def with_secret(self, secret: str) -> "Webhook":
        """Return a copy of the webhook that contains its secret."""
        return replace(self, secret=secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChange:
    """Changes of a webhook; None keeps the current value."""

    url: str | None = None
    events: tuple[str, ...] | None = None
    include: tuple[str, ...] | None = None
    paused: bool | None = None
    secret: str | None = field(default=None, repr=False)


class WebhookEndpoint(NamedTuple):
    """The data that a process needs to deliver to a webhook."""

    id: SubscriptionId
    name: str
    url: str
    secret: str
    include: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Endpoint({self.id}, {self.name!r}, {self.url!r})"


Patterns: TypeAlias = str | Collection[str]
"""Event names, or prefixes such as `payment.*`; `*` means all events."""


def parse_event_patterns(given: Patterns) -> tuple[str, ...]:
    """Return the patterns of a subscription. Raises InvalidInput."""
    patterns = tuple(dict.fromkeys([given] if isinstance(given, str) else given))
    if not 1 <= len(patterns) <= limits.EVENT_PATTERNS:
        raise InvalidInput(
            f"a subscription must have 1 to {limits.EVENT_PATTERNS} event names, not "
            f"{len(patterns)}",
            path="$.events",
        )
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise InvalidInput(
                f"{pattern[:60]!r} is not an event name: write a name such as"
                " 'payment.charged', a prefix such as 'payment.*', or '*'",
                path="$.events",
            )
    return patterns


def split_webhook_name(name: str) -> tuple[str, str]:
    """Return the namespace and the plain name of a webhook named `namespace.name`."""
    namespace, _, plain = name.rpartition(".")
    return namespace or DEFAULT_NAMESPACE, plain


def new_webhook(name: str, url: str, events: Patterns, include: Collection[str]) -> NewWebhook:
    """Return a webhook with a new secret. Raises InvalidInput."""
    namespace, plain = split_webhook_name(name)
    for what, part, pattern, rule in (
        ("namespace", namespace, NAMESPACE, NAMESPACE_RULE),
        ("name", plain, _NAME, _NAME_RULE),
    ):
        if not pattern.fullmatch(part):
            message = f"{part[:60]!r} is not a valid {what} for a webhook: {rule}"
            raise InvalidInput(message, path=f"$.{what}")
    return NewWebhook(
        namespace=namespace,
        name=plain,
        url=parse_webhook_url(url),
        events=parse_event_patterns(events),
        include=parse_webhook_include(include),
        secret=new_webhook_secret(),
    )


def parse_webhook_url(url: str) -> str:
    """Return the URL of a webhook. Raises InvalidInput."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_valid = is_valid and parts.port != 0 and parts.username is None and not parts.fragment
    except ValueError:
        is_valid = False
    if not is_valid or len(url) > limits.WEBHOOK_URL_CHARACTERS or not _URL.fullmatch(url):
        raise InvalidInput(
            f"{url[:100]!r} is not the URL of a webhook: write one such as"
            " https://example.com/tasker, without credentials or a fragment,"
            f" at most {limits.WEBHOOK_URL_CHARACTERS:,} characters",
            path="$.url",
        )
    return url


def parse_webhook_include(include: Collection[str]) -> tuple[str, ...]:
    """Return the content of a webhook's requests beyond the event. Raises InvalidInput."""
    parts = tuple(dict.fromkeys(include))
    for part in parts:
        if part not in INCLUDABLE:
            allowed = " and ".join(INCLUDABLE)
            raise InvalidInput(
                f"include may contain {allowed}, not {part[:60]!r}", path="$.include"
            )
    return parts


def matches_event_name(patterns: Sequence[str], name: str) -> bool:
    """Return whether a subscription with these patterns receives events of this name."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in patterns
    )


def next_delivery_delay(
    attempt: int, since: datetime, now: datetime, *, first: float, limit: timedelta
) -> float:
    """Return the seconds until the attempt after `attempt`; negative: no other attempt follows.

    Args:
        attempt: Attempts so far. since: Start of the first attempt.
        now: The time.
        first: Seconds before the second attempt; twice as long each time, at most six hours.
        limit: How long after `since` attempts may start.
    """
    delay: float = min(first * 2 ** min(attempt - 1, 16), 21_600.0)
    return delay if now + timedelta(seconds=delay) <= since + limit else -1.0


def new_webhook_secret() -> str:
    """Return a new key for the signatures of a webhook."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def decode_webhook_secret(secret: str) -> bytes:
    """Return the bytes of a key. Raises ValueError."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
