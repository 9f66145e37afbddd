"""Where the next claim of limited steps begins."""

from typing import NamedTuple


class GatePlace(NamedTuple):
    """A gate, in the order in which claims visit them."""

    outer_gate: int
    gate: int


START = GatePlace(0, 0)


class GateCursor:
    """Lets the claims of one worker go round the gates.

    A claim looks at a bounded number of gates, and the next one continues behind them. Claims that
    find nothing follow each other until one round is complete.
    """

    def __init__(self) -> None:
        self.after = START
        """The next claim begins after this place."""

        self._rounds = 0  #: how often the empty claims since the last full one came to the end

    def move(self, after: GatePlace, *, cut: bool, claimed: bool) -> bool:
        """Move behind the gates of a claim, and return whether to claim again at once.

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
