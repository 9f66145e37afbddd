"""The meaning of unquoted words in YAML.

The rules are those of YAML 1.2, in which `22:30` and `2024-05-01` are text. Words that YAML 1.1 and
1.2 read differently (`yes`, `0123`, `1_000`) are rejected, with a hint on what to write instead.
"""

import math
import re
from typing import NamedTuple

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {word: word.lower() == "true" for word in ("true", "True", "TRUE")}
_WORDS |= {word: word.lower() == "true" for word in ("false", "False", "FALSE")}
_EITHER = {"yes": True, "on": True, "no": False, "off": False}
INTEGERS = range(-(2**63), 2**64)  #: the integers that JSON libraries agree on


class PlainScalar(NamedTuple):
    """The value of an unquoted word, or the reason why the word is rejected."""

    value: None | bool | int | float | str
    problem: str = ""  #: why it cannot be accepted


def is_read_as_text(text: str) -> bool:
    """Return whether a word without quotes is read as a string, judged by its characters."""
    return parse_plain_scalar(text) == PlainScalar(text)


def parse_plain_scalar(text: str) -> PlainScalar:
    """Read an unquoted word."""
    if text in _WORDS:
        return PlainScalar(_WORDS[text])
    if text.lower() in _EITHER:
        word = "true" if _EITHER[text.lower()] else "false"
        return PlainScalar(
            text,
            f"{text} is ambiguous: write {word} for the boolean, or {text!r} in quotes for the"
            " string",
        )
    if text[0] in "+-.0123456789":
        return _parse_number_or_text(text)
    return PlainScalar(text)


def _parse_number_or_text(text: str) -> PlainScalar:
    """Read text that begins like a number; dates, times and three-part versions are text."""
    if _LEADING_ZERO.fullmatch(text):
        return PlainScalar(text, f"{text} begins with a zero; remove the zero, or quote the text")
    if _UNDERSCORED.fullmatch(text):
        return PlainScalar(
            text, f"{text} contains underscores; remove the underscores, or quote the text"
        )
    if _NOT_FINITE.fullmatch(text):
        return PlainScalar(text, f"{text} is not a valid JSON number; to write a string, quote it")
    too_large = PlainScalar(
        text, f"the number {text[:40]} is too large; to write a string, quote it"
    )
    if _INT.fullmatch(text):
        number = int(text, 0) if len(text) <= 25 else None
        return PlainScalar(number) if number is not None and number in INTEGERS else too_large
    if _FLOAT.fullmatch(text):
        real = float(text)
        return PlainScalar(real) if math.isfinite(real) else too_large
    return PlainScalar(text)
