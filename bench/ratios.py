"""The statistics of a comparison: medians of paired ratios, their intervals, the verdict."""

from collections.abc import Sequence
from math import comb
from statistics import median
from typing import NamedTuple

LEVEL = 0.9
MIN_ROUNDS = 5  #: fewer values have no 90 % interval


class Interval(NamedTuple):
    """A closed range."""

    low: float
    high: float

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high


class Ratio(NamedTuple):
    """The median of paired ratios, and its 90 % interval."""

    median: float
    interval: Interval

    @classmethod
    def of(cls, values: Sequence[float], base: Sequence[float]) -> "Ratio":
        """Return the ratio of `values` to `base`, round by round.

        Raises:
            ValueError: The lengths differ, or there are fewer than `MIN_ROUNDS` rounds.
        """
        ratios = [value / other for value, other in zip(values, base, strict=True)]
        return cls(median(ratios), median_interval(ratios))

    def counts(self, control: "Ratio") -> bool:
        """Return whether the difference is real: the interval excludes the control's."""
        return not self.interval.overlaps(control.interval)


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the narrowest order statistics that cover the median with probability `level`.

    It assumes nothing about the distribution: the median of `n` values lies between the
    k-th smallest and the k-th largest unless fewer than k values fall on one side of it,
    which is the binomial probability of fewer than k heads in n tosses, twice.

    Raises:
        ValueError: There are too few values for this level.
    """
    ordered, n = sorted(values), len(values)
    chosen, tail = 0, 0.0
    for k in range(1, (n + 1) // 2 + 1):
        tail += comb(n, k - 1) / 2**n
        if 1 - 2 * tail >= level:
            chosen = k
    if not chosen:
        raise ValueError(f"{n} values are too few for a {level:.0%} interval of their median")
    return Interval(ordered[chosen - 1], ordered[n - chosen])
