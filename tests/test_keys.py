"""API keys as text."""

import pytest

from tasker.teams.api_keys import digest_secret, generate_key, parse_key, verify_secret


def test_a_key_consists_of_a_prefix_and_a_secret() -> None:
    """It can be split into these parts."""
    key = generate_key()

    parts = parse_key(key.text)

    assert parts is not None
    assert f"tsk_{key.prefix}_{parts.secret}" == key.text
    assert key.digest == digest_secret(parts.secret)
    assert 256 == len(parts.secret) * 4  # bits, in hexadecimal digits


def test_keys_are_unique() -> None:
    """Neither prefixes nor secrets repeat."""
    keys = [generate_key() for _ in range(100)]

    assert 100 == len({key.prefix for key in keys}) == len({key.digest for key in keys})


def test_only_its_secret_matches_a_key() -> None:
    """Another secret, an empty one and the digest do not match."""
    key = generate_key()
    secret = key.text.rsplit("_", 1)[1]

    assert verify_secret(secret, key.digest)
    for wrong in ("", secret[:-1], secret.upper() + "0", key.digest, "ü", generate_key().text):
        assert not verify_secret(wrong, key.digest)


@pytest.mark.parametrize(
    "text",
    ["", "tsk_", "tsk_abc_def", "sk_{}", "{} ", "{}\n", "Bearer {}", "tsk_{}", "{}0"],
)
def test_an_invalid_key_has_no_parts(text: str) -> None:
    """
    It is refused before any store is asked.
    """
    assert parse_key(text.format(generate_key().text)) is None
