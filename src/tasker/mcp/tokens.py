"""Tokens of previews: they permit one action, once, for ten minutes."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasker.errors import InvalidInput

VALID_FOR = 600.0  #: seconds
_MOST = 1_000  #: tokens that are kept; the oldest are dropped first


class PreviewedAction(NamedTuple):
    """An action that was previewed and may be performed once, until its time limit."""

    action: str
    arguments: Mapping[str, Any]
    until: float  #: monotonic time


class ActionTokens:
    """The unused tokens that this process has issued."""

    def __init__(self) -> None:
        self._planned: OrderedDict[str, PreviewedAction] = OrderedDict()

    def issue(self, action: str, arguments: Mapping[str, Any]) -> str:
        """Return a new token for an action with exactly these arguments."""
        token = secrets.token_urlsafe(24)
        self._planned[token] = PreviewedAction(action, arguments, time.monotonic() + VALID_FOR)
        while len(self._planned) > _MOST:
            self._planned.popitem(last=False)
        return token

    def redeem(self, token: str) -> PreviewedAction:
        """Return the action of a token, which is used up.

        Raises:
            InvalidInput: The token is unknown, used or too old.
        """
        planned = self._planned.pop(token, None)
        if planned is None or planned.until < time.monotonic():
            raise InvalidInput(
                "the token is unknown, was already used, or is older than ten minutes: call a"
                " preview tool again, and pass the token that it returns",
                path="$.token",
            )
        return planned
