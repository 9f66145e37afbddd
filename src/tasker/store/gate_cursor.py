"""Where the next claim of limited steps begins."""

from typing import NamedTuple


class GatePosition(NamedTuple):
    """A gate, in the order in which claims visit them."""

    outer_gate: int
    gate: int


START = GatePosition(0, 0)


class GateCursor:
    """Lets the claims of one worker cycle through the gates.

    A claim examines a limited number of gates, and the next claim continues after them. Empty
    claims follow each other until one round is complete.
    """

    def __init__(self) -> None:
        self.after = START
        """The next claim begins after this position in the index."""

        self._rounds = 0  #: how often the empty claims since the last full one came to the end

    def advance(self, after: GatePosition, *, cut: bool, claimed: bool) -> bool:
        """Move past the gates of a claim; return whether to claim again immediately.

        Args:
            after: Where the claim ended.
            cut: Whether gates remain that it did not visit.
            claimed: Whether it claimed a step.
        """
        if claimed:
            self._rounds = 0
        elif after <= self.after:
            self._rounds += 1
        self.after = after
        if not cut:
            self._rounds = 0
        return cut and self._rounds < 2
