"""Tickets: signed strings that identify an attempt and the worker that holds its claim."""

import hmac
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from tasker.model import Claim, TaskId, TemplateId, WorkerId
from tasker.remote.errors import InvalidTicket

_CONTENT = Struct(">16sIIIIIQ?Q")
_SIGNATURE = 16  #: bytes
_LENGTH = len(b2a_base64(bytes(_CONTENT.size + _SIGNATURE), newline=False))
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class Ticket(NamedTuple):
    """The content of a ticket."""

    claim: Claim
    """Without checkpoint and times."""

    template_id: TemplateId
    node: int
    """The number of the step's node in the template."""

    worker: WorkerId
    given_at: float
    """Time at which the ticket was issued, in seconds since 1970."""


class TicketSigner:
    """Signs and verifies tickets.

    Args:
        keys: The secrets that sign them; the first signs new ones, and all are accepted.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        # Copying a keyed hash is faster than setting its key again.
        self._keyed = [blake2b(digest_size=_SIGNATURE, key=key.encode()[:64]) for key in keys]

    def sign(self, ticket: Ticket) -> str:
        """Return a ticket as text."""
        claim, template_id, node, worker, given_at = ticket
        content = _CONTENT.pack(
            bytes.fromhex(claim.task_id.replace("-", "")),
            claim.no,
            claim.attempt,
            claim.counted_attempts,
            template_id,
            node,
            worker,
            claim.gated,
            int(given_at * 1_000),
        )
        signed = content + self._compute_signature(content, 0)
        return b2a_base64(signed, newline=False).translate(_TO_URL).decode()

    def verify(self, text: object, worker: WorkerId | None) -> Ticket:
        """Return the content of a ticket: one of `worker`, or of any. Raises InvalidTicket."""
        if not isinstance(text, str) or len(text) != _LENGTH or not text.isascii():
            raise InvalidTicket("the ticket was not issued by a Tasker server")
        try:
            signed = a2b_base64(text.encode().translate(_FROM_URL))
        except ValueError:
            signed = b""
        content, signature = signed[: _CONTENT.size], signed[_CONTENT.size :]
        for key in range(len(self._keyed)):
            if hmac.compare_digest(signature, self._compute_signature(content, key)):
                break
        else:
            raise InvalidTicket("the ticket was not issued by a server that uses this database")
        task, no, attempt, counted, template_id, node, owner, gated, at = _CONTENT.unpack(content)
        if worker is not None and owner != worker:
            raise InvalidTicket("the ticket belongs to another worker")
        digits = task.hex()
        parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
        claim = Claim(TaskId("-".join(parts)), no, attempt, counted, gated=gated)
        return Ticket(claim, TemplateId(template_id), node, WorkerId(owner), at / 1_000)

    def _compute_signature(self, content: bytes, key: int) -> bytes:
        signature = self._keyed[key].copy()
        signature.update(content)
        return signature.digest()
