"""Guesses at mistyped words."""

from tasker.suggest import closest, did_you_mean, suggest_allowed

KEYS = ["name", "handler", "dependencies", "max_attempts"]


def test_the_nearest_word_is_guessed() -> None:
    """In any case."""
    assert closest("dependancies", KEYS) == "dependencies"
    assert closest("MaxAttempts", KEYS) == "max_attempts"
    assert closest("zzz", KEYS) is None
    assert closest("name", []) is None


def test_guesses_are_written_to_be_appended() -> None:
    """To a message that ends without a full stop."""
    assert did_you_mean("nam", KEYS) == "; did you mean 'name'?"
    assert did_you_mean("zzz", KEYS) == ""
    assert suggest_allowed("nam", KEYS[:2]) == "; did you mean 'name'? Allowed: name, handler"
    assert suggest_allowed("zzz", KEYS[:2]) == "; allowed: name, handler"


def test_a_guess_costs_little() -> None:
    """For any length of the word and number of candidates."""
    assert closest("x" * 1_000_000, KEYS) is None
    assert closest("step", (f"candidate_{no}" for no in range(1_000_000))) is None
