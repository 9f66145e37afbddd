"""What the protocol's own values refuse."""

import pytest

from tasker.errors import InvalidInput, TooLarge
from tasker.store.protocol import LONGEST_REASON, Act


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_an_act_holds_nothing_that_no_database_keeps(text: str) -> None:
    """
    The error tells which part it was.
    """
    with pytest.raises(InvalidInput) as actor:
        Act(actor=text)
    with pytest.raises(InvalidInput) as reason:
        Act(reason=text)

    assert ("$.actor", "$.reason") == (actor.value.path, reason.value.path)


def test_a_reason_has_its_limit() -> None:
    """
    It is refused, never cut.
    """
    Act(reason="x" * LONGEST_REASON)
    with pytest.raises(TooLarge):
        Act(reason="ü" * LONGEST_REASON)
