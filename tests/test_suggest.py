"""Guesses at mistyped words."""

from tasker.suggest import closest, did_you_mean, suggest_allowed

KEYS = ["name", "handler", "dependencies", "max_attempts"]


def test_the_nearest_word_is_suggested() -> None:
    """Case does not matter."""
    assert closest("dependancies", KEYS) == "dependencies"
    assert closest("MaxAttempts", KEYS) == "max_attempts"
    assert closest("zzz", KEYS) is None
    assert closest("name", []) is None


def test_suggestions_can_be_appended_to_messages() -> None:
    assert did_you_mean("nam", KEYS) == "; did you mean 'name'?"
    assert did_you_mean("zzz", KEYS) == ""
    assert suggest_allowed("nam", KEYS[:2]) == "; did you mean 'name'? Allowed: name, handler"
    assert suggest_allowed("zzz", KEYS[:2]) == "; allowed: name, handler"


def test_a_suggestion_is_cheap() -> None:
    """This holds for long words and many candidates."""
    assert closest("x" * 1_000_000, KEYS) is None
    assert closest("step", (f"candidate_{no}" for no in range(1_000_000))) is None
