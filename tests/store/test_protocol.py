"""What the protocol's own values refuse."""

import pytest

from tasker.errors import InvalidInput, TooLarge
from tasker.store.protocol import LONGEST_REASON, AuditNote


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_an_action_refuses_values_that_cannot_be_stored(text: str) -> None:
    """The error names the invalid part."""
    with pytest.raises(InvalidInput) as actor:
        AuditNote(actor=text)
    with pytest.raises(InvalidInput) as reason:
        AuditNote(reason=text)

    assert ("$.actor", "$.reason") == (actor.value.path, reason.value.path)


def test_the_length_of_a_reason_is_limited() -> None:
    """
    It is refused, never cut.
    """
    AuditNote(reason="x" * LONGEST_REASON)
    with pytest.raises(TooLarge):
        AuditNote(reason="ü" * LONGEST_REASON)
