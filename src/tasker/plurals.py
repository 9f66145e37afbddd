"""Writes numbers with their nouns."""


def format_count(noun: str, count: int) -> str:
    """Return a number with its noun: `1 step`, `2,000 steps`."""
    return f"{count:,} {pluralize(noun, count)}"


def pluralize(noun: str, count: int) -> str:
    """Return a noun as it follows a number: `step` after 1, else `steps`."""
    return noun if count == 1 else f"{noun}s"
