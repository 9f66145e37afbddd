"""Sends signed events to webhooks, only to public addresses, with limits on size and time.

Requests follow the Standard Webhooks specification, for which most languages have libraries.
"""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Iterable
from dataclasses import asdict

import httpx
import orjson

import tasker
from tasker import limits
from tasker.durations import human_duration
from tasker.engine.checked_transport import Network, open_address_checked_client
from tasker.errors import PermanentError
from tasker.events import (
    WEBHOOK_TIMEOUT,
    DeliveryAttemptResult,
    Event,
    WebhookEndpoint,
    decode_webhook_secret,
)
from tasker.model import Json

_MOST_RETRY_AFTER = 3_600.0  #: seconds that an endpoint may ask for
_OPTIONAL = frozenset({"context", "result"})


class WebhookSender:
    """Sends events to endpoints.

    Args:
        private_networks: Networks that may be reached besides public addresses.
    """

    def __init__(self, private_networks: Iterable[Network] = ()) -> None:
        self._client = open_address_checked_client(private_networks)

    async def send(self, endpoint: WebhookEndpoint, event: Event) -> DeliveryAttemptResult:
        """Send one event. Redirects are not followed, and the response's body is not read."""
        try:
            body = serialize_event(event, endpoint.include)
            async with asyncio.timeout(WEBHOOK_TIMEOUT):
                request = self._client.build_request(
                    "POST",
                    endpoint.url,
                    content=body,
                    headers=build_signed_headers(endpoint.secret, event.id, int(time.time()), body),
                )
                response = await self._client.send(request, stream=True)
                await response.aclose()
        except TimeoutError:
            return DeliveryAttemptResult(
                None, f"there was no response within {human_duration(WEBHOOK_TIMEOUT)}"
            )
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            PermanentError,
            TypeError,
            ValueError,
        ) as error:
            return DeliveryAttemptResult(None, str(error) or type(error).__name__)
        if response.is_success:
            return DeliveryAttemptResult(response.status_code, "")
        return DeliveryAttemptResult(
            response.status_code,
            f"the response has the status {response.status_code}",
            _parse_retry_after(response),
        )

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()


def serialize_event(event: Event, include: Iterable[str] = _OPTIONAL) -> bytes:
    """Return an event as JSON with all its fields, but `context` and `result` only if included.

    These two are omitted if they would make the body too large.
    """
    left_out = _OPTIONAL - set(include)
    body = orjson.dumps(_event_document(event, left_out))
    if len(body) > limits.WEBHOOK_BYTES:
        body = orjson.dumps(_event_document(event, _OPTIONAL))
    return body


def _event_document(event: Event, left_out: Iterable[str]) -> dict[str, Json]:
    document = asdict(event)
    document["outcome"] = event.outcome.value
    document["at"] = event.at.isoformat()
    for name in ("no", *left_out):
        del document[name]
    return document


def build_signed_headers(
    secret: str, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers of a request, with its signature."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(decode_webhook_secret(secret), signed, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": f"tasker/{tasker.__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _parse_retry_after(response: httpx.Response) -> float:
    """Return the seconds of a `Retry-After` header; dates are ignored."""
    written = response.headers.get("Retry-After", "")
    return min(float(written), _MOST_RETRY_AFTER) if written.isdecimal() else 0.0
