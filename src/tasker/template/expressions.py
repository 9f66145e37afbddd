"""The expression language of templates, and strings with placeholders.

    expression  = all { "or" all }
    all         = negation { "and" negation }
    negation    = "not" negation | comparison
    comparison  = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") operand ]
    operand     = literal | path | "[" [ expression { "," expression } ] "]" | "(" expression ")"
    literal     = number | string | "true" | "false" | "null"
    path        = name { "." name | "[" (integer | string) "]" }

Values are JSON. A path without a value is null. Nothing is converted: only two numbers or two
strings can be ordered, `true` is not 1, and `and`, `or` and `not` accept booleans and null, which
counts as false. Everything else raises `InvalidExpression` with the path.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import ge, gt, le, lt
from typing import Any, NamedTuple, NoReturn, TypeAlias

import orjson

from tasker import limits
from tasker.errors import InvalidExpression
from tasker.model import Json
from tasker.suggest import suggest_allowed

Names: TypeAlias = Mapping[str, Json]
"""The values of an expression's names: `input`, `results`, `item`, ..."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<symbol>==|!=|<=|>=|[<>()\[\],.])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_CONSTANTS: Names = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
_WORDS = {"and", "or", "not", "in", *_CONSTANTS}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}  #: others stand for themselves
_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_HINTS = {"=": "write ==", "&": "write 'and'", "|": "write 'or'", "!": "write 'not' or !="}
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_EXACT = 2**53  #: up to here, a float that is a whole number has no other neighbours
_COMPARISONS = ("==", "!=", *_ORDERS, "in", "not in")


class Path(NamedTuple):
    """A path: `input.lines[0].sku`."""

    keys: tuple[str | int, ...]  #: the first is the name

    def __str__(self) -> str:
        return str(self.keys[0]) + "".join(map(_format_key, self.keys[1:]))

    def evaluate(self, names: Names) -> Json:
        """Return the value at the path, or null if it does not exist."""
        if self.keys[0] not in names:
            _raise_invalid(
                f"unknown name {self.keys[0]!r}{suggest_allowed(str(self.keys[0]), names)}", self
            )
        value: Json = names[str(self.keys[0])]
        for key in self.keys[1:]:
            if isinstance(key, str):
                value = value.get(key) if isinstance(value, Mapping) else None
            elif isinstance(value, list | tuple) and -len(value) <= key < len(value):
                value = value[key]
            else:
                return None
        return value


class Literal(NamedTuple):
    """A string, number, boolean or null in an expression."""

    value: Json

    def __str__(self) -> str:
        return orjson.dumps(self.value).decode()

    def evaluate(self, _: Names) -> Json:
        """Return the literal's value."""
        return self.value


class ListLiteral(NamedTuple):
    """A list: `["DE", "FR"]`."""

    items: tuple["Node", ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"

    def evaluate(self, names: Names) -> Json:
        """Return the values of its items."""
        return [item.evaluate(names) for item in self.items]


class Not(NamedTuple):
    """`not` operand."""

    operand: "Node"

    def __str__(self) -> str:
        return f"not ({self.operand})"

    def evaluate(self, names: Names) -> Json:
        """Return the opposite of its operand."""
        return not evaluate_as_boolean(self.operand, names)


class LogicalOperation(NamedTuple):
    """Operands joined by `and` or `or`, evaluated from the left until one decides."""

    word: str
    operands: tuple["Node", ...]

    def __str__(self) -> str:
        return f" {self.word} ".join(f"({operand})" for operand in self.operands)

    def evaluate(self, names: Names) -> Json:
        """Return true or false."""
        decide = any if self.word == "or" else all
        return decide(evaluate_as_boolean(operand, names) for operand in self.operands)


class Comparison(NamedTuple):
    """A comparison of two operands."""

    left: "Node"
    operator: str
    right: "Node"

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"

    def evaluate(self, names: Names) -> Json:
        """Return true or false."""
        left, right = self.left.evaluate(names), self.right.evaluate(names)
        if self.operator in ("==", "!="):
            return is_equal_json(left, right) is (self.operator == "==")
        if self.operator in _ORDERS:
            self._require_orderable(left, right)
            return _ORDERS[self.operator](left, right)
        return self._is_contained(left, right) is (self.operator == "in")

    def _require_orderable(self, left: Json, right: Json) -> None:
        for node, value, other in ((self.left, left, right), (self.right, right, left)):
            if json_type_name(value) not in ("number", "string"):
                _raise_invalid(f"{node} is {_describe_value(value)}, which cannot be ordered", node)
            if json_type_name(value) != json_type_name(other):
                _raise_invalid(
                    f"cannot compare {self.left} ({json_type_name(left)}) with {self.right}"
                    f" ({json_type_name(right)}) using {self.operator}",
                    node,
                )

    def _is_contained(self, left: Json, right: Json) -> bool:
        if isinstance(right, str):
            if not isinstance(left, str):
                _raise_invalid(
                    f"{self.left} is {_describe_value(left)}; a string can contain only strings",
                    self.left,
                )
            return left in right
        if isinstance(right, list | tuple):
            return any(is_equal_json(left, item) for item in right)
        if isinstance(right, Mapping):
            return isinstance(left, str) and left in right
        _raise_invalid(
            f"{self.right} is {_describe_value(right)}, not a list, string or object", self.right
        )


Node: TypeAlias = Path | Literal | ListLiteral | Not | LogicalOperation | Comparison


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression."""

    text: str
    node: Node

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths in the expression, in order."""
        return tuple(_find_paths(self.node))

    def evaluate(self, names: Names) -> Json:
        """Return the value of the expression.

        Raises:
            InvalidExpression: Values have types that its operators do not accept.
        """
        try:
            return self.node.evaluate(names)
        except InvalidExpression as error:
            raise InvalidExpression(self.text, error.message, path=error.path) from None
        except RecursionError:
            raise InvalidExpression(self.text, "a value is nested too deeply") from None

    def is_true(self, names: Names) -> bool:
        """Return the value of a condition; null counts as false.

        Raises:
            InvalidExpression: The value is neither a boolean nor null, or cannot be computed.
        """
        value = self.evaluate(names)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise InvalidExpression(
            self.text,
            f"it is {_describe_value(value)}, not true or false",
            path=node_json_path(self.node),
        )


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A compiled string with placeholders: `customer:{input.customer_id}`."""

    text: str
    parts: tuple[str | Path, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of its placeholders, in order."""
        return tuple(part for part in self.parts if isinstance(part, Path))

    def render(self, names: Names) -> str:
        """Return the text for display: null becomes "", objects and lists become JSON."""
        return "".join(
            part if isinstance(part, str) else value_to_text(part.evaluate(names))
            for part in self.parts
        )

    def render_key(self, names: Names) -> str:
        """Return the text as a key: each placeholder is a string, a number or a boolean.

        Raises:
            InvalidExpression: A placeholder is null or "", an object or a list.
        """
        for path in self.paths:
            value = path.evaluate(names)
            if value is None or value == "" or isinstance(value, Mapping | list | tuple):
                raise InvalidExpression(
                    self.text,
                    f"{path} is {_describe_value(value)}, not a string, number or boolean",
                    path=node_json_path(path),
                )
        return self.render(names)


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Compile an expression.

    Raises:
        InvalidExpression: The text is not an expression or too large.
    """
    return Expression(text, _ExpressionParser(text).parse())


@lru_cache(maxsize=4096)
def compile_path(text: str) -> Path:
    """Compile an expression that is only a path: `input.order_id`. Raises InvalidExpression."""
    node = compile_expression(text).node
    if not isinstance(node, Path):
        raise InvalidExpression(text, "it must be a path, such as input.order_id")
    return node


@lru_cache(maxsize=4096)
def compile_text(text: str) -> TextTemplate:
    """Compile a string with placeholders in braces; `{{` and `}}` stand for braces.

    Raises:
        InvalidExpression: A brace is unmatched, a placeholder is not a path, or there are too
            many.
    """
    if len(text) > limits.TEXT_CHARACTERS:
        raise InvalidExpression(
            text, f"it has {len(text):,} characters; the limit is {limits.TEXT_CHARACTERS:,}"
        )
    parts: list[str | Path] = []
    for match in re.finditer(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+", text):
        part = match[0]
        if match[1] is not None:
            parts.append(_compile_placeholder(text, match[1]))
        elif part in "{}":
            raise InvalidExpression(
                text,
                f"{part!r} at character {match.start() + 1} is unmatched;"
                f" write {part * 2!r} for a literal brace",
            )
        else:
            parts.append(part[0] if part in ("{{", "}}") else part)
    if (count := sum(isinstance(part, Path) for part in parts)) > limits.TEXT_PLACEHOLDERS:
        raise InvalidExpression(
            text, f"it has {count} placeholders; the limit is {limits.TEXT_PLACEHOLDERS}"
        )
    return TextTemplate(text, tuple(parts))


def _compile_placeholder(text: str, placeholder: str) -> Path:
    try:
        return compile_path(placeholder.strip())
    except InvalidExpression as error:
        raise InvalidExpression(
            text, f"the placeholder {{{placeholder[:60]}}}: {error.message}"
        ) from None


def check_path_names(text: str, paths: Iterable[Path], allowed: Collection[str]) -> None:
    """Raise InvalidExpression if a path in `text` does not start with an allowed name."""
    for path in paths:
        name = str(path.keys[0])
        if name not in allowed:
            raise InvalidExpression(
                text,
                f"unknown name {name!r}{suggest_allowed(name, allowed)}",
                path=node_json_path(path),
            )


def _unescape_character(escaped: re.Match[str]) -> str:
    code = escaped[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)


def json_type_name(value: Json) -> str:
    """Return JSON Schema's name of a value's type; integers are numbers."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def is_equal_json(left: Json, right: Json) -> bool:
    """Return whether two JSON values are equal; `true` is not 1."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            is_equal_json(value, right[key]) for key, value in left.items()
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(is_equal_json, left, right))
    return json_type_name(left) == json_type_name(right) and left == right


def evaluate_as_boolean(node: Node, names: Names) -> bool:
    """Return the value of an operand of `and`, `or` and `not`."""
    value = node.evaluate(names)
    if value is None or isinstance(value, bool):
        return bool(value)
    _raise_invalid(f"{node} is {_describe_value(value)}, not true or false", node)


def node_json_path(node: Node) -> str:
    """Return the JSON path of an operand among the names; `$` if it is not a path."""
    return f"$.{node}" if isinstance(node, Path) else "$"


def _raise_invalid(message: str, node: Node) -> NoReturn:
    raise InvalidExpression("", message, path=node_json_path(node))


def _describe_value(value: Json) -> str:
    """Describe a value for a message."""
    if value is None or isinstance(value, bool | int | float):
        return str(Literal(value))
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}...")
    return "an object" if isinstance(value, Mapping) else "a list"


def value_to_text(value: Json) -> str:
    """Return a value as text: null is "", whole numbers have no fraction, other values are JSON."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _format_key(key: str | int) -> str:
    if isinstance(key, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key):
        return f".{key}"
    return f"[{orjson.dumps(key).decode()}]"


def _find_paths(node: Node) -> Iterator[Path]:
    match node:
        case Path():
            yield node
        case ListLiteral(items):
            for item in items:
                yield from _find_paths(item)
        case Not(operand):
            yield from _find_paths(operand)
        case LogicalOperation(_, operands):
            for operand in operands:
                yield from _find_paths(operand)
        case Comparison(left, _, right):
            yield from _find_paths(left)
            yield from _find_paths(right)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


class _ExpressionParser:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > limits.EXPRESSION_CHARACTERS:
            raise InvalidExpression(
                text,
                f"it has {len(text):,} characters; the limit is {limits.EXPRESSION_CHARACTERS:,}",
            )
        self._tokens = list(self._tokenize())
        self._next = self._nodes = self._depth = 0

    def parse(self) -> Node:
        node = self._parse_or()
        if self._current_token.kind != "end":
            self._raise_unexpected_token()
        return node

    def _tokenize(self) -> Iterator[_Token]:
        at = 0
        while True:
            match = _TOKEN.match(self._text, at)
            if match is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                symbol = self._text[start]
                hint = _HINTS.get(symbol, "it is not part of the expression language")
                self._raise_syntax_error(f"{symbol!r} at character {start + 1}: {hint}")
            kind = str(match.lastgroup)
            yield _Token(kind, match[kind], match.start(kind))
            if kind == "end":
                return
            at = match.end()

    @property
    def _current_token(self) -> _Token:
        return self._tokens[self._next]

    def _take_if_any_of(self, *texts: str) -> str | None:
        """Consume and return the next token if it is one of the words or symbols given."""
        token = self._current_token
        if token.kind in ("name", "symbol") and token.text in texts:
            self._next += 1
            return token.text
        return None

    def _require_symbol(self, symbol: str) -> None:
        if not self._take_if_any_of(symbol):
            self._raise_unexpected_token(f"; expected {symbol!r}")

    def _parse_or(self) -> Node:
        return self._parse_joined_operands("or", self._parse_and)

    def _parse_and(self) -> Node:
        return self._parse_joined_operands("and", self._parse_not)

    def _parse_joined_operands(self, word: str, operand: Callable[[], Node]) -> Node:
        operands = [operand()]
        while self._take_if_any_of(word):
            operands.append(operand())
        return (
            operands[0]
            if len(operands) == 1
            else self._count_node(LogicalOperation(word, tuple(operands)))
        )

    def _parse_not(self) -> Node:
        if not self._take_if_any_of("not"):
            return self._parse_comparison()
        self._enter_nesting_level()
        node = self._count_node(Not(self._parse_not()))
        self._depth -= 1
        return node

    def _parse_comparison(self) -> Node:
        left = self._parse_operand()
        if (operator := self._take_comparison_operator()) is None:
            return left
        node = self._count_node(Comparison(left, operator, self._parse_operand()))
        at = self._current_token.start
        if self._take_comparison_operator():
            self._raise_syntax_error(
                f"a second comparison at character {at + 1}: join comparisons with 'and' or 'or'"
            )
        return node

    def _take_comparison_operator(self) -> str | None:
        if self._current_token.text == "not" and self._tokens[self._next + 1].text == "in":
            self._next += 2
            return "not in"
        return self._take_if_any_of(*_COMPARISONS)

    def _parse_operand(self) -> Node:
        token = self._current_token
        if token.kind in ("number", "string"):
            self._next += 1
            return self._count_node(Literal(self._parse_literal(token)))
        if token.kind == "name" and token.text not in _WORDS:
            return self._parse_path()
        if word := self._take_if_any_of(*_CONSTANTS):
            return self._count_node(Literal(_CONSTANTS[word]))
        self._enter_nesting_level()
        if self._take_if_any_of("("):
            node = self._parse_or()
            self._require_symbol(")")
        elif self._take_if_any_of("["):
            node = self._count_node(ListLiteral(tuple(self._parse_list_items())))
        else:
            self._raise_unexpected_token("; expected a value")
        self._depth -= 1
        return node

    def _parse_list_items(self) -> Iterator[Node]:
        if self._take_if_any_of("]"):
            return
        yield self._parse_or()
        while self._take_if_any_of(","):
            yield self._parse_or()
        self._require_symbol("]")

    def _parse_path(self) -> Node:
        keys: list[str | int] = [self._current_token.text]
        self._next += 1
        while symbol := self._take_if_any_of(".", "["):
            token = self._current_token
            if symbol == "." and token.kind == "name":
                keys.append(token.text)
            elif symbol == "[" and token.kind in ("number", "string"):
                key = self._parse_literal(token)
                if not isinstance(key, str | int):
                    self._raise_unexpected_token("; expected an integer or a string")
                keys.append(key)
            else:
                self._raise_unexpected_token(
                    "; expected a name" if symbol == "." else "; expected an integer or a string"
                )
            self._next += 1
            if symbol == "[":
                self._require_symbol("]")
        return self._count_node(Path(tuple(keys)))

    def _parse_literal(self, token: _Token) -> str | int | float:
        if token.kind == "string":
            return _ESCAPED.sub(_unescape_character, token.text[1:-1])
        try:
            value = orjson.loads(token.text)
        except orjson.JSONDecodeError:
            self._raise_syntax_error(
                f"{token.text[:60]} at character {token.start + 1} is not a number"
            )
        return int(value) if isinstance(value, int) else float(value)

    def _count_node(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > limits.EXPRESSION_NODES:
            self._raise_syntax_error(
                f"it has more than {limits.EXPRESSION_NODES} operators, paths and literals"
            )
        return node

    def _enter_nesting_level(self) -> None:
        self._depth += 1
        if self._depth > limits.EXPRESSION_DEPTH:
            self._raise_syntax_error(
                f"it is nested more than {limits.EXPRESSION_DEPTH} levels deep"
            )

    def _raise_unexpected_token(self, expected: str = "") -> NoReturn:
        token = self._current_token
        if token.kind == "end":
            self._raise_syntax_error(f"it ends too early{expected}")
        self._raise_syntax_error(
            f"unexpected {token.text[:60]!r} at character {token.start + 1}{expected}"
        )

    def _raise_syntax_error(self, message: str) -> NoReturn:
        raise InvalidExpression(self._text, message)
