"""Limits the work that a JSON Schema can cause for one value through its references."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from tasker.model import Json, JsonObject

MAX_SCHEMAS = 20_000  #: schemas within one schema, as written
MAX_PATTERNS = 1_000  #: regular expressions in one schema
MAX_AT_ONE_VALUE = 1_000  #: schemas that apply to one and the same value
MAX_REFERENCES = 100  #: references in a chain
LIGHT_EXPANSION = 1_000  #: schemas with references followed; more are checked in a process
LIGHT_NODES = 10_000  #: objects, lists and values in a schema, as written
LIGHT_PATTERNS = 10

_META = "json-schema.org/"  #: published meta-schemas, which the library knows
_META_SIZE = 50  #: schemas that a meta-schema applies to one value
_SAME_VALUE = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf")
_SAME_VALUE_TABLES = ("dependentSchemas", "dependencies")
_PART = (
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "additionalItems",
    "contains",
    "items",
    "prefixItems",
    "unevaluatedItems",
)
_PART_TABLES = ("properties", "patternProperties")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

SchemaPath = tuple[str | int, ...]


class ExceededLimit(NamedTuple):
    """An exceeded limit of a schema, and the path to it."""

    path: SchemaPath
    message: str


class SchemaCost(NamedTuple):
    """The cost of a schema within all bounds."""

    light: bool
    """Whether checking any value against the schema is fast, because the schema is not recursive
    and has few subschemas and patterns."""


class _SchemaEdge(NamedTuple):
    target: int  #: id of a schema
    same_value: bool  #: whether it applies to the same value, not to a part of it
    reference: bool


class _LimitExceeded(Exception):
    def __init__(self, path: SchemaPath, message: str) -> None:
        super().__init__(message)
        self.excess = ExceededLimit(path, message)


def is_quick_for_every_value(schema: JsonObject) -> bool:
    """Return whether the checks of a schema that was accepted are quick: see `SchemaCost.light`.

    Stops at the limits of light schemas, so it is quick for every schema.
    """
    try:
        return (
            _SchemaCostMeter(schema, most=LIGHT_EXPANSION, most_nodes=LIGHT_NODES).measure().light
        )
    except _LimitExceeded:
        return False


def measure_schema_cost(schema: JsonObject) -> SchemaCost | ExceededLimit:
    """Measure a schema, or return the first limit that it exceeds.

    Broken references do not count: compiling the schema reports them.
    """
    try:
        return _SchemaCostMeter(schema).measure()
    except _LimitExceeded as found:
        return found.excess


class _SchemaCostMeter:
    """Measures the work that checks of one schema can cause, from its subschemas and references."""

    def __init__(
        self, root: JsonObject, *, most: int = MAX_SCHEMAS, most_nodes: float = math.inf
    ) -> None:
        self._root = root
        self._most = most
        self._most_nodes = most_nodes
        self._nodes = 0
        self._base = _text_or_empty(root.get("$id"))
        self._document = urldefrag(self._base)[0]
        self._paths: dict[int, SchemaPath] = {id(root): ()}
        self._edges: dict[int, list[_SchemaEdge]] = {}
        self._anchors: dict[str, list[tuple[JsonObject, SchemaPath]]] = {}
        self._patterns = 0
        self._extra: dict[int, int] = {}  #: size of meta-schemas that a schema refers to

    def measure(self) -> SchemaCost:
        self._collect_anchors_and_count_nodes(self._root, ())
        self._collect_subschemas()
        self._reject_too_many_schemas_per_value()
        expansion, recursive = self._measure_expansion()
        return SchemaCost(
            not recursive
            and expansion <= LIGHT_EXPANSION
            and self._patterns <= LIGHT_PATTERNS
            and self._nodes <= LIGHT_NODES
        )

    def _collect_anchors_and_count_nodes(self, node: Json, path: SchemaPath) -> None:
        self._nodes += 1
        if self._nodes > self._most_nodes:
            raise _LimitExceeded(
                (), f"it has more than {self._most_nodes:,} objects, lists and values"
            )
        if isinstance(node, dict):
            identity = _text_or_empty(node.get("$id"))
            for name in (
                _text_or_empty(node.get("$anchor")),
                _text_or_empty(node.get("$dynamicAnchor")),
                identity[1:] if identity.startswith("#") else "",  # drafts 6 and 7
            ):
                if name:
                    self._anchors.setdefault(name, []).append((node, path))
            for key, part in node.items():
                self._collect_anchors_and_count_nodes(part, (*path, key))
        elif isinstance(node, list):
            for index, part in enumerate(node):
                self._collect_anchors_and_count_nodes(part, (*path, index))

    def _collect_subschemas(self) -> None:
        """Visit every schema that is reached from the root."""
        waiting: list[JsonObject] = [self._root]
        while waiting:
            schema = waiting.pop()
            path = self._paths[id(schema)]
            edges = self._edges[id(schema)] = []
            self._patterns += "pattern" in schema
            identity = _text_or_empty(schema.get("$id"))
            if path and identity and not identity.startswith("#"):
                raise _LimitExceeded((*path, "$id"), "'$id' is allowed only at the top level")
            for target, at, same_value, reference in self._find_applied_schemas(schema, path):
                edges.append(_SchemaEdge(id(target), same_value, reference))
                if id(target) not in self._paths:
                    self._paths[id(target)] = at
                    waiting.append(target)
            if len(self._paths) > self._most:
                raise _LimitExceeded((), f"it has more than {self._most:,} subschemas")
            if self._patterns > MAX_PATTERNS:
                raise _LimitExceeded((), f"it has more than {MAX_PATTERNS:,} patterns")

    def _find_applied_schemas(
        self, schema: JsonObject, path: SchemaPath
    ) -> Iterator[tuple[JsonObject, SchemaPath, bool, bool]]:
        """Yield the schemas that one applies: schema, path, same value, by a reference."""
        for keys, tables, same_value in (
            (_SAME_VALUE, _SAME_VALUE_TABLES, True),
            (_PART, _PART_TABLES, False),
        ):
            for key in keys:
                yield from _yield_subschemas(schema.get(key), (*path, key), same_value)
            for key in tables:
                table = schema.get(key)
                if isinstance(table, dict):
                    self._patterns += len(table) if key == "patternProperties" else 0
                    for name, part in table.items():
                        yield from _yield_subschemas(
                            part, (*path, key, name), same_value, lists=False
                        )
        for key in _REFERENCES:
            if isinstance(reference := schema.get(key), str):
                for target, at in self._resolve_reference(reference, id(schema)):
                    yield target, at, True, True

    def _resolve_reference(
        self, reference: str, source: int
    ) -> list[tuple[JsonObject, SchemaPath]]:
        url, fragment = self._document, reference[1:]
        if not reference.startswith("#"):
            url, fragment = urldefrag(urljoin(self._base, reference))
        if url != self._document:
            self._extra[source] = _META_SIZE if _META in url else 0
            return []
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(unquote(fragment), [])
        node: Json = self._root
        path: list[str | int] = []
        for part in unquote(fragment).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and key in node:
                path.append(key)
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                path.append(int(key))
                node = node[int(key)]
            else:
                return []
        return [(node, tuple(path))] if isinstance(node, dict) else []

    def _reject_too_many_schemas_per_value(self) -> None:
        """Bound the schemas that apply to one value, and the references among them."""
        sizes: dict[int, int] = {}
        depths: dict[int, int] = {}

        def reject_too_many_schemas_at_node(node: int, edges: list[_SchemaEdge]) -> None:
            path = self._paths[node]
            size = 1 + self._extra.get(node, 0) + sum(sizes[edge.target] for edge in edges)
            if size > MAX_AT_ONE_VALUE:
                raise _LimitExceeded(
                    path,
                    f"more than {MAX_AT_ONE_VALUE:,} schemas would apply to one value"
                    " when references are followed",
                )
            depth = max((depths[edge.target] + edge.reference for edge in edges), default=0)
            if depth > MAX_REFERENCES:
                raise _LimitExceeded(path, f"a chain of references is longer than {MAX_REFERENCES}")
            sizes[node], depths[node] = size, depth

        back = self._visit_targets_first_until_cycle(
            lambda edge: edge.same_value, reject_too_many_schemas_at_node
        )
        if back is not None:
            raise _LimitExceeded(
                self._paths[back],
                "its $refs lead back to the same schema without descending into the value",
            )

    def _measure_expansion(self) -> tuple[int, bool]:
        """Return the number of schemas with references followed, and whether they are recursive."""
        sizes: dict[int, int] = {}

        def measure_node_expansion(node: int, edges: list[_SchemaEdge]) -> None:
            size = 1 + self._extra.get(node, 0)
            size += sum(sizes.get(edge.target, 0) for edge in edges)
            sizes[node] = min(size, MAX_SCHEMAS)

        recursive = (
            self._visit_targets_first_until_cycle(lambda edge: True, measure_node_expansion)
            is not None
        )
        return sizes.get(id(self._root), 0), recursive

    def _visit_targets_first_until_cycle(
        self, wanted: Callable[[_SchemaEdge], bool], weigh: Callable[[int, list[_SchemaEdge]], None]
    ) -> int | None:
        """Call `weigh` for each schema, after all schemas that its wanted edges lead to.

        Returns:
            The id of a schema in a cycle, at which the visit stopped; None if there is no cycle.
        """
        done: set[int] = set()
        for start in self._edges:
            if start in done:
                continue
            open_nodes = {start}
            edges = [edge for edge in self._edges[start] if wanted(edge)]
            stack = [(start, edges, iter(edges))]
            while stack:
                node, edges, left = stack[-1]
                target = next((e.target for e in left if e.target not in done), None)
                if target is None:
                    stack.pop()
                    open_nodes.discard(node)
                    done.add(node)
                    weigh(node, edges)
                elif target in open_nodes:
                    return target
                else:
                    open_nodes.add(target)
                    edges = [edge for edge in self._edges[target] if wanted(edge)]
                    stack.append((target, edges, iter(edges)))
        return None


def _yield_subschemas(
    part: Json, path: SchemaPath, same_value: bool, *, lists: bool = True
) -> Iterator[tuple[JsonObject, SchemaPath, bool, bool]]:
    if isinstance(part, dict):
        yield part, path, same_value, False
    elif isinstance(part, list) and lists:
        for index, item in enumerate(part):
            if isinstance(item, dict):
                yield item, (*path, index), same_value, False


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""
