"""Expressions written in Python: `(flow.input.amount > 500) & ~flow.input.vip`."""

from typing import Any, NoReturn, TypeAlias

import orjson

from tasker.errors import InvalidInput

_BOUND, _COMPARED, _NEGATED, _ALL, _ANY = range(5)  #: precedence of the text's outermost operator


class BuiltExpression:
    """An expression under construction.

    Attributes and items of a path select parts of its value. Comparisons are written with `==`,
    `!=`, `<`, `<=`, `>`, `>=`, `is_in` and `contains`, and joined with `&`, `|` and `~`. `str`
    returns the text that templates keep.
    """

    __hash__ = None  # type: ignore[assignment]  # comparisons make expressions

    def __init__(self, text: str, strength: int = _BOUND, *, is_path: bool = False) -> None:
        self._text = text
        self._strength = strength
        self._is_path = is_path

    @classmethod
    def from_keys(cls, *keys: str) -> "BuiltExpression":
        """Return the expression for a path: `results.quote` for the keys `results` and `quote`."""
        first, *others = keys
        made = cls(first, is_path=True)
        for key in others:
            made = made[key]
        return made

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<expression {self._text}>"

    def __getattr__(self, name: str) -> "BuiltExpression":
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str | int) -> "BuiltExpression":
        if not self._is_path:
            raise InvalidInput(f"{self._text} is not a path, so {key!r} cannot follow it")
        if isinstance(key, str) and key.isidentifier():
            return BuiltExpression(f"{self._text}.{key}", is_path=True)
        return BuiltExpression(f"{self._text}[{_literal_text(key)}]", is_path=True)

    def __eq__(self, other: object) -> "BuiltExpression":  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: object) -> "BuiltExpression":  # type: ignore[override]
        return self._compare("!=", other)

    def __lt__(self, other: object) -> "BuiltExpression":
        return self._compare("<", other)

    def __le__(self, other: object) -> "BuiltExpression":
        return self._compare("<=", other)

    def __gt__(self, other: object) -> "BuiltExpression":
        return self._compare(">", other)

    def __ge__(self, other: object) -> "BuiltExpression":
        return self._compare(">=", other)

    def is_in(self, values: object) -> "BuiltExpression":
        """Return whether the value is an item of a list, part of a string, or a key."""
        return self._compare("in", values)

    def contains(self, value: object) -> "BuiltExpression":
        """Return whether the list, string or object contains a value."""
        return BuiltExpression(
            f"{_comparison_operand_text(value)} in {self._parenthesize_if_needed(_BOUND)}",
            _COMPARED,
        )

    def __and__(self, other: "BuiltExpression") -> "BuiltExpression":
        return BuiltExpression(
            f"{self._parenthesize_if_needed(_ALL)} and {_logical_operand_text(other, _ALL)}", _ALL
        )

    def __or__(self, other: "BuiltExpression") -> "BuiltExpression":
        return BuiltExpression(
            f"{self._parenthesize_if_needed(_ANY)} or {_logical_operand_text(other, _ANY)}", _ANY
        )

    def __invert__(self) -> "BuiltExpression":
        return BuiltExpression(f"not {self._parenthesize_if_needed(_NEGATED)}", _NEGATED)

    def __bool__(self) -> NoReturn:
        raise InvalidInput(
            f"{self._text} has no value yet: join expressions with &, | and ~ instead of 'and',"
            " 'or' and 'not', and write is_in(...) instead of 'in'"
        )

    def _compare(self, operator: str, other: object) -> "BuiltExpression":
        return BuiltExpression(
            f"{self._parenthesize_if_needed(_BOUND)} {operator} {_comparison_operand_text(other)}",
            _COMPARED,
        )

    def _parenthesize_if_needed(self, strength: int) -> str:
        """Return the text, in parentheses if its precedence is lower than that of its context."""
        return self._text if self._strength <= strength else f"({self._text})"


Expression: TypeAlias = str | BuiltExpression
"""An expression: either a string or an object built in Python."""


def to_expression_text(written: object, argument: str) -> str | None:
    """Return the text of an expression argument; None if it is absent.

    Raises:
        InvalidInput: It is neither a string nor an expression, but for example a function.
    """
    if written is None or isinstance(written, str):
        return written
    if isinstance(written, BuiltExpression):
        return str(written)
    if isinstance(written, bool):
        return str(written).lower()
    raise InvalidInput(
        f'{argument} takes an expression, such as {argument}="input.amount > 500" or'
        f" {argument}=flow.input.amount > 500, not {type(written).__name__}: an expression is "
        "stored in the template and evaluated without the workflow's code",
        path=f"$.{argument}",
    )


def _logical_operand_text(other: object, strength: int) -> str:
    if not isinstance(other, BuiltExpression):
        return _literal_text(other)
    return other._parenthesize_if_needed(strength)


def _comparison_operand_text(value: object) -> str:
    return (
        value._parenthesize_if_needed(_BOUND)
        if isinstance(value, BuiltExpression)
        else _literal_text(value)
    )


def _literal_text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise InvalidInput(f"{value!r} cannot be part of an expression: {error}") from None
