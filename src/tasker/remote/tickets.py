"""Tickets: signed texts that name an attempt and the worker that holds its claim."""

import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from tasker.model import Claim, TaskId, TemplateId, WorkerId
from tasker.remote.errors import InvalidTicket

_CONTENT = Struct(">16sIIIIIQ?Q")
_SIGNATURE = 16  #: bytes
_LENGTH = len(urlsafe_b64encode(bytes(_CONTENT.size + _SIGNATURE)))


class Ticket(NamedTuple):
    """The content of a ticket."""

    claim: Claim
    """Without checkpoint and times."""

    template_id: TemplateId
    node: int
    """The template's node that the step is."""

    worker: WorkerId
    given_at: float
    """Time when it was made, in seconds since 1970."""


class Tickets:
    """Signs and reads tickets.

    Args:
        keys: The secrets that sign them; the first signs new ones, and all are accepted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode()[:64] for key in keys]

    def sign(self, claim: Claim, template_id: TemplateId, node: int, worker: WorkerId) -> str:
        """Return the ticket of a claim."""
        content = _CONTENT.pack(
            UUID(claim.task_id).bytes,
            claim.no,
            claim.attempt,
            claim.counted_attempts,
            template_id,
            node,
            worker,
            claim.gated,
            time.time_ns() // 1_000_000,
        )
        return urlsafe_b64encode(content + _signature(content, self._keys[0])).decode()

    def read(self, text: object, worker: WorkerId | None) -> Ticket:
        """Return the content of a ticket: one of `worker`, or of any. Raises InvalidTicket."""
        if not isinstance(text, str) or len(text) != _LENGTH or not text.isascii():
            raise InvalidTicket("the ticket was not made by a server")
        try:
            signed = urlsafe_b64decode(text)
        except ValueError:
            signed = b""
        content, signature = signed[: _CONTENT.size], signed[_CONTENT.size :]
        if not any(hmac.compare_digest(signature, _signature(content, key)) for key in self._keys):
            raise InvalidTicket("the ticket was not made by a server of this database")
        task, no, attempt, counted, template_id, node, owner, gated, at = _CONTENT.unpack(content)
        if worker is not None and owner != worker:
            raise InvalidTicket("the ticket belongs to another worker")
        task_id = TaskId(str(UUID(bytes=task)))
        claim = Claim(task_id, no, attempt, counted, gated=gated)
        return Ticket(claim, TemplateId(template_id), node, WorkerId(owner), at / 1_000)


def _signature(content: bytes, key: bytes) -> bytes:
    return blake2b(content, digest_size=_SIGNATURE, key=key).digest()
