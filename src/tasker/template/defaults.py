"""Fills the defaults declared by a JSON Schema into a value."""

from typing import Any

import orjson

from tasker.errors import InvalidInput
from tasker.model import Json, JsonObject

MAX_VISITS = 100_000  #: places visited for one value
MAX_ADDED = 16 << 20  #: bytes of defaults added to one value


def declares_defaults(schema: object) -> bool:
    """Return whether `default` occurs anywhere in a schema."""
    if isinstance(schema, dict):
        return "default" in schema or any(declares_defaults(part) for part in schema.values())
    return isinstance(schema, list) and any(declares_defaults(part) for part in schema)


def fill_defaults(schema: JsonObject, value: Json) -> None:
    """Fill a schema's defaults into `value`, in place.

    Defaults are found through `properties`, `items`, `allOf` and references within the
    schema. They fill in missing properties of existing objects. A missing object is only created if
    it has a default itself.

    Raises:
        InvalidInput: The defaults are infinite or exceed the limits.
    """
    _DefaultsFiller(schema).fill(value, schema, _FillLocation(inserted=False, seen=frozenset()))


class _FillLocation:
    """The path by which the filler reached a value."""

    __slots__ = ("inserted", "seen")

    def __init__(self, *, inserted: bool, seen: frozenset[str]) -> None:
        self.inserted = inserted  #: by a default, not by the caller
        self.seen = seen  #: references followed; those of one value, or since the default

    def through_reference(self, target: str) -> "_FillLocation":
        return _FillLocation(inserted=self.inserted, seen=self.seen | {target})

    def inside_default(self) -> "_FillLocation":
        return _FillLocation(inserted=True, seen=self.seen)

    def inside_part(self) -> "_FillLocation":
        """Return the path to a part; within a default, cyclic references are not followed."""
        return self if self.inserted else _FillLocation(inserted=False, seen=frozenset())


class _DefaultsFiller:
    """Fills one value, in place."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._visits = 0
        self._added = 0

    def fill(self, value: Any, schema: Any, path: _FillLocation) -> None:
        if not isinstance(schema, dict) or not isinstance(value, dict | list):
            return
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise InvalidInput(
                "filling in the schema's defaults takes too much work; simplify the schema"
            )
        target = schema.get("$ref")
        if isinstance(target, str) and target not in path.seen:
            self.fill(value, self._resolve_reference(target), path.through_reference(target))
        for part in _list_or_empty(schema.get("allOf")):
            self.fill(value, part, path)
        if isinstance(value, dict):
            self._fill_object(value, schema, path)
        elif isinstance(schema.get("items"), dict):
            for item in value:
                self.fill(item, schema["items"], path.inside_part())

    def _fill_object(
        self, value: dict[str, Any], schema: dict[str, Any], path: _FillLocation
    ) -> None:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return
        for key, part in properties.items():
            if key in value:
                self.fill(value[key], part, path.inside_part())
            elif isinstance(part, dict) and "default" in part:
                value[key] = self._copy_and_count_default(part["default"])
                self.fill(value[key], part, path.inside_default())

    def _copy_and_count_default(self, default: Json) -> Any:
        """Copy a default and count it."""
        text = orjson.dumps(default)
        self._added += len(text)
        if self._added > MAX_ADDED:
            raise InvalidInput(f"the schema's defaults add more than {MAX_ADDED:,} bytes")
        return orjson.loads(text)

    def _resolve_reference(self, target: str) -> Any:
        """Follow a reference within the schema; None for other references."""
        node: Any = self._root
        if not (target == "#" or target.startswith("#/")):
            return None
        for part in target.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or key not in node:
                return None
            node = node[key]
        return node


def _list_or_empty(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
