"""Suggests corrections of mistyped words."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

_MOST = 1_000  #: candidates compared; comparisons are slow
_LONGEST = 100  #: characters of a word worth comparing


def closest_match(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate closest to `word`, or None if none is close.

    Args:
        word: The unknown word. Words over 100 characters have no match.
        candidates: The allowed words; the first 1,000 are compared.
    """
    if len(word) > _LONGEST:
        return None
    near = {name.lower(): name for name in islice(candidates, _MOST) if len(name) <= _LONGEST}
    matches = get_close_matches(word.lower(), near, n=1)
    return near[matches[0]] if matches else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` to append to a message, or "" if nothing is close."""
    match = closest_match(word, candidates)
    return "" if match is None else f"; did you mean {match!r}?"


def did_you_mean_file(path: Path, suffixes: Collection[str]) -> str:
    """Suggest a file with one of the suffixes in the directory of a missing one."""
    near = {file.stem: file.name for file in path.parent.glob("*") if file.suffix in suffixes}
    match = closest_match(path.stem, near)
    return "" if match is None else f"; did you mean {near[match]!r}?"


def suggest_allowed(word: str, allowed: Iterable[str]) -> str:
    """Return the closest match, if any, and the allowed words, to append to a message."""
    names = list(allowed)
    guess = did_you_mean(word, names)
    return f"{guess} Allowed: {', '.join(names)}" if guess else f"; allowed: {', '.join(names)}"
