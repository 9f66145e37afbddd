"""Guesses at mistyped words."""

from tasker.suggest import closest_match, did_you_mean, suggest_allowed

KEYS = ["name", "handler", "dependencies", "max_attempts"]


def test_the_nearest_word_is_suggested() -> None:
    """Case does not matter."""
    assert closest_match("dependancies", KEYS) == "dependencies"
    assert closest_match("MaxAttempts", KEYS) == "max_attempts"
    assert closest_match("zzz", KEYS) is None
    assert closest_match("name", []) is None


def test_suggestions_can_be_appended_to_messages() -> None:
    assert did_you_mean("nam", KEYS) == "; did you mean 'name'?"
    assert did_you_mean("zzz", KEYS) == ""
    assert suggest_allowed("nam", KEYS[:2]) == "; did you mean 'name'? Allowed: name, handler"
    assert suggest_allowed("zzz", KEYS[:2]) == "; allowed: name, handler"


def test_a_suggestion_is_cheap() -> None:
    """This holds for long words and many candidates."""
    assert closest_match("x" * 1_000_000, KEYS) is None
    assert closest_match("step", (f"candidate_{no}" for no in range(1_000_000))) is None
