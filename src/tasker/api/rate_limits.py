"""Limits each caller's request rate with a token bucket, refilled at a steady rate."""

import math
import time
from collections import OrderedDict

from tasker.api.problems import Problem

MOST_CALLERS = 100_000  #: callers tracked; the least recently active is dropped


class CallerRateLimits:
    """Limits the request rate of each caller with a token bucket.

    Args:
        rate: Tokens per second; None means no limit.
        burst: Tokens in a full bucket.
    """

    def __init__(self, rate: float | None, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def admit(self, caller: str) -> None:
        """Admit a request of a caller by taking a token from its bucket.

        Raises:
            Problem: `rate_limited`; the caller's bucket is empty.
        """
        if self._rate is None:
            return
        now = time.monotonic()
        tokens, at = self._buckets.pop(caller, (float(self._burst), now))
        tokens = min(tokens + (now - at) * self._rate, float(self._burst))
        if tokens >= 1:
            self._store_bucket(caller, tokens - 1, now)
            return
        self._store_bucket(caller, tokens, now)
        wait = max(math.ceil((1 - tokens) / self._rate), 1)
        raise Problem(
            "rate_limited",
            f"More than {self._rate:g} requests per second; try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )

    def _store_bucket(self, caller: str, tokens: float, now: float) -> None:
        self._buckets[caller] = (tokens, now)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
