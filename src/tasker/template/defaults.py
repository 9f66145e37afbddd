"""The defaults that a JSON Schema declares, filled into a value."""

from typing import Any

import orjson

from tasker.errors import InvalidInput
from tasker.model import Json, JsonObject

MAX_VISITS = 1_000_000  #: places looked at for one value
MAX_ADDED = 16 << 20  #: bytes of defaults added to one value
_MAX_DEPTH = 250  #: what JSON libraries agree to read


def declares_defaults(schema: object) -> bool:
    """Tell whether `default` stands anywhere in a schema."""
    if isinstance(schema, dict):
        return "default" in schema or any(declares_defaults(part) for part in schema.values())
    return isinstance(schema, list) and any(declares_defaults(part) for part in schema)


def with_defaults(schema: JsonObject, value: Json) -> Json:
    """Tell `value` with a schema's defaults filled in; `value` itself stays as it is.

    Defaults are found through `properties`, `items`, `allOf` and references within the
    schema. They fill what is missing in an object that is there; an object that is not
    there is only made where it has a default itself.

    Raises:
        InvalidInput: The value is nested too deeply, or the defaults are without end.
    """
    filled: Json = _copied(value, 0)
    _Filler(schema).fill(filled, schema, _Way(inserted=False, seen=frozenset()))
    return filled


def _copied(value: Json, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {key: _copied(part, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part, depth + 1) for part in value]
    return value


class _Way:
    """How the filler came to a value."""

    __slots__ = ("inserted", "seen")

    def __init__(self, *, inserted: bool, seen: frozenset[str]) -> None:
        self.inserted = inserted  #: through a default, not through what the caller wrote
        self.seen = seen  #: references followed; those of one value, or since the default

    def through(self, target: str) -> "_Way":
        return _Way(inserted=self.inserted, seen=self.seen | {target})

    def into_default(self) -> "_Way":
        return _Way(inserted=True, seen=self.seen)

    def down(self) -> "_Way":
        """Tell the way to a part; within a default, references are not followed in circles."""
        return self if self.inserted else _Way(inserted=False, seen=frozenset())


class _Filler:
    """Fills one value, in place."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._visits = 0
        self._added = 0

    def fill(self, value: Any, schema: Any, way: _Way) -> None:
        if not isinstance(schema, dict) or not isinstance(value, dict | list):
            return
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise InvalidInput("there is too much to look through for the schema's defaults")
        target = schema.get("$ref")
        if isinstance(target, str) and target not in way.seen:
            self.fill(value, self._resolved(target), way.through(target))
        for part in _list(schema.get("allOf")):
            self.fill(value, part, way)
        if isinstance(value, dict):
            self._fill_object(value, schema, way)
        elif isinstance(schema.get("items"), dict):
            for item in value:
                self.fill(item, schema["items"], way.down())

    def _fill_object(self, value: dict[str, Any], schema: dict[str, Any], way: _Way) -> None:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return
        for key, part in properties.items():
            if key in value:
                self.fill(value[key], part, way.down())
            elif isinstance(part, dict) and "default" in part:
                self._added += len(orjson.dumps(part["default"]))
                if self._added > MAX_ADDED:
                    raise InvalidInput(f"the schema's defaults add over {MAX_ADDED:,} bytes")
                value[key] = _copied(part["default"], 0)
                self.fill(value[key], part, way.into_default())

    def _resolved(self, target: str) -> Any:
        """Follow a reference within the schema; None where it leads elsewhere."""
        found: Any = self._root
        if not (target == "#" or target.startswith("#/")):
            return None
        for part in target.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
