"""Passwords in addresses are hidden, however they are written."""

import pytest

from tasker.redact import redact_passwords


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://t:secret@db:5432/t", "postgresql://t:***@db:5432/t"),
        ("postgresql://t:se/cr#e@t@db/t?schema=s", "postgresql://t:***@db/t?schema=s"),
        ("redis://:secret@host", "redis://:***@host"),
        (
            "cannot reach postgresql://t:s@db/t, again",
            "cannot reach postgresql://t:***@db/t, again",
        ),
        ("https://u:secret@host/x?email=a@b", "https://u:***@host/x?email=a@b"),
        ("http://host:8080/x?email=a@b", "http://host:8080/x?email=a@b"),
        ("postgresql://t@db/t", "postgresql://t@db/t"),
        ("sqlite:.tasker/tasker.db", "sqlite:.tasker/tasker.db"),
        ("plain text", "plain text"),
    ],
)
def test_only_the_password_is_hidden(text: str, expected: str) -> None:
    assert expected == redact_passwords(text)


def test_without_a_mask_the_colon_is_removed_too() -> None:
    assert "postgresql://t@db/t" == redact_passwords("postgresql://t:secret@db/t", mask="")
