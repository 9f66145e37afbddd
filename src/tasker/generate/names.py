"""Names in the conventions of a language."""

import re

_UNSAFE = {'"': "'", "\\": "/", "*/": "* /", "`": "'"}
"""Strings that would end a comment or have a special meaning in one, with their replacements."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def split_words(name: str) -> list[str]:
    """Return the words of a name in any convention, in lower case."""
    return [word.lower() for word in _WORD.findall(name)] or ["value"]


def one_line_comment(text: str) -> str:
    """Return a description as one line that is safe in the comments of all languages."""
    line = " ".join(text.split())
    for unsafe, safe in _UNSAFE.items():
        line = line.replace(unsafe, safe)
    return "".join(char for char in line if char.isprintable())


def pascal_case(name: str) -> str:
    """Return `ValidateRefund` for `validate_refund`."""
    joined = "".join(word.capitalize() for word in split_words(name))
    return f"N{joined}" if joined[0].isdigit() else joined


def camel_case(name: str) -> str:
    """Return `validateRefund` for `validate_refund`."""
    joined = pascal_case(name)
    return joined[0].lower() + joined[1:]


def snake_case(name: str) -> str:
    """Return `validate_refund` for `ValidateRefund`."""
    joined = "_".join(split_words(name))
    return f"n_{joined}" if joined[0].isdigit() else joined
