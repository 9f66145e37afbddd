"""Finds sensitive values in texts that quote them, such as error messages and printed lines.

Texts quote a value as programs write it: unchanged, line by line, or escaped. They may also end in
the middle of a value, because stores truncate long texts.
"""

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

MASKED = "[masked]"
"""The replacement of a sensitive text."""

SHORTEST_TEXT = 4  #: characters from which a value is recognized where it is a part of a text
CUT = " [...]"  #: the end of texts that were cut off
_SHORTEST_CUT = 200  #: characters; no shorter text was cut off
_LONGEST_ENCODED = 2_000  #: characters of a value that may be a part of a URL
_HEAD = 16  #: characters by which long values are looked up
_MOST_LENGTHS = 8  #: lengths of values with one head that are compared
_FEW = 20  #: starts of values for which a regular expression is faster than a set


def written_forms(value: str) -> Iterator[str]:
    """Yield a value in the forms in which programs write it, except forms that are too short."""
    yield value
    if value.isascii() and value.isalnum():
        return
    parts = {value, *map(str.strip, value.splitlines())}
    for part in parts:
        for form in (part, *_escaped_forms(part)):
            if len(form) >= SHORTEST_TEXT:
                yield form


def _escaped_forms(value: str) -> Iterator[str]:
    yield repr(value)[1:-1]
    yield repr(value.encode("utf-8", "replace"))[2:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    if len(value) <= _LONGEST_ENCODED:
        encoded = quote(value, safe="")
        yield encoded
        yield encoded.replace("%20", "+")


class SensitiveTexts:
    """Sensitive values, to be hidden in texts. The time per text hardly depends on their number.

    Args:
        values: All forms of the values; overlapping values are hidden together. Each must have at
            least `SHORTEST_TEXT` characters.
    """

    __slots__ = ("_lengths", "_pattern", "_starts", "values")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = frozenset(values)
        self._starts = {text[:SHORTEST_TEXT] for text in self.values}
        lengths: dict[str, set[int]] = {}
        for text in self.values:
            lengths.setdefault(text[:_HEAD], set()).add(len(text))
        self._lengths = {head: sorted(known, reverse=True) for head, known in lengths.items()}
        few = 0 < len(self._starts) <= _FEW
        self._pattern = re.compile("|".join(map(re.escape, self._starts))) if few else None

    def __bool__(self) -> bool:
        return bool(self.values)

    def mask_in(self, text: str) -> str:
        """Return a text with the values in it replaced."""
        shown: list[str] = []
        begin = end = 0  # the end of what is in `shown`, and of the values found so far
        at = self._next_start(text, 0)
        while at >= 0:
            until = self._end_of_match(text, at)
            if until > at:
                if at >= end:
                    shown += text[begin:at], MASKED
                begin = end = max(end, until)
            at = self._next_start(text, at + 1)
        return "".join([*shown, text[begin:]]) if begin else text

    def _next_start(self, text: str, begin: int) -> int:
        """Return the next position where a value may begin, or -1."""
        if self._pattern is not None:
            match = self._pattern.search(text, begin)
            return -1 if match is None else match.start()
        starts = self._starts
        for at in range(begin, len(text) - SHORTEST_TEXT + 1):
            if text[at : at + SHORTEST_TEXT] in starts:
                return at
        return -1

    def _end_of_match(self, text: str, at: int) -> int:
        """Return the end of the longest value at a position, or the position itself if there is
        none.

        The rest of the text counts as a value if it may be the start of a truncated one, or if it
        starts like many values of different lengths.
        """
        long = self._lengths.get(text[at : at + _HEAD], ())
        rest = len(text) if len(long) > _MOST_LENGTHS else at
        for length in long[:_MOST_LENGTHS]:
            if text[at : at + length] in self.values:
                return max(rest, at + length)
        cut_at = len(text.removesuffix(CUT))
        missing = cut_at - at < max(long[0] if long else 0, _HEAD)
        if missing and len(text) >= _SHORTEST_CUT:
            return len(text)
        for length in range(_HEAD - 1, SHORTEST_TEXT - 1, -1):
            if text[at : at + length] in self.values:
                return max(rest, at + length)
        return rest
