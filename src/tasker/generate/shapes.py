"""The types of a template, read from its JSON Schemas: one tree for the writers of all languages.

Other parts of a schema, such as bounds and patterns, are left to the server, which checks inputs
and results against the complete schema.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from tasker.generate.names import one_line_comment, pascal_case
from tasker.layout import NodeLayout
from tasker.model import (
    Batch,
    CollectMode,
    JsonObject,
    Map,
    Repeat,
    Spawning,
    StepSpec,
    Template,
    flatten_steps,
)
from tasker.template.expressions import Path, compile_expression

_SCALARS = frozenset({"string", "integer", "number", "boolean", "null"})


@dataclass(frozen=True, slots=True)
class ScalarShape:
    """A value of one kind: `string`, `integer`, `number`, `boolean`, `null`, or `any`."""

    kind: str


@dataclass(frozen=True, slots=True)
class NamedShape:
    """A reference to a record or an enumeration, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class ListShape:
    """The type of a list."""

    items: "Shape"


@dataclass(frozen=True, slots=True)
class MapShape:
    """The type of an object with arbitrary keys, whose values have one type."""

    values: "Shape"


@dataclass(frozen=True, slots=True)
class NullableShape:
    """A type that also allows null."""

    shape: "Shape"


Shape: TypeAlias = ScalarShape | NamedShape | ListShape | MapShape | NullableShape

ANY = ScalarShape("any")


def definition_names_in(shape: Shape) -> set[str]:
    """Return the names of the definitions that a shape uses."""
    match shape:
        case NamedShape(name):
            return {name}
        case ListShape(inner) | MapShape(inner) | NullableShape(inner):
            return definition_names_in(inner)
        case ScalarShape():
            return set()


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of a record."""

    name: str
    shape: Shape
    required: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """The definition of an object type with known fields."""

    name: str
    fields: tuple[RecordField, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Enumeration:
    """The definition of a type whose values are one of several strings."""

    name: str
    values: tuple[str, ...]
    description: str = ""


class InstanceInput(NamedTuple):
    """An input that each instance of a step gets: its element, its cursor or its iteration."""

    name: str
    shape: Shape
    spawning: Spawning


@dataclass(slots=True)
class TemplateTypes:
    """The types of a template. Each definition follows the definitions that it uses."""

    template: Template
    definitions: list[Record | Enumeration] = field(default_factory=list)
    input: Shape | None = None
    results: dict[str, Shape] = field(default_factory=dict)
    """Result types by step name, for steps with a result schema."""

    returned: dict[str, Shape] = field(default_factory=dict)
    """Return types of handlers, by node name."""

    given: dict[str, tuple[InstanceInput, ...]] = field(default_factory=dict)
    """For each step of a body, by name: the inputs of the instances around it, innermost first."""

    def innermost_map_item(self, spec: StepSpec) -> InstanceInput | None:
        """Return the element of the innermost map around a step, or None if there is no map."""
        around = self.given.get(spec.name, ())
        return next((each for each in around if isinstance(each.spawning, Map)), None)

    def is_in_batch(self, spec: StepSpec) -> bool:
        """Return whether a step is part of a batch."""
        around = self.given.get(spec.name, ())
        return any(isinstance(each.spawning, Batch) for each in around)


def declared_step_name(spec: StepSpec) -> str:
    """Return the name of the step that a node belongs to: `convert` of `convert[]`."""
    return spec.name.removesuffix("[]")


def derive_template_types(template: Template) -> TemplateTypes:
    """Return the types of a template's input, of results and of the inputs of instances."""
    types = TemplateTypes(template)
    if template.input_schema is not None:
        reader = _SchemaReader(types, template.input_schema)
        types.input = reader.read(template.input_schema, f"{pascal_case(template.name)}Input")
    for spec in flatten_steps(template.steps):
        if spec.result_schema is not None:
            reader = _SchemaReader(types, spec.result_schema)
            types.results[spec.name] = reader.read(
                spec.result_schema, f"{pascal_case(spec.name)}Result"
            )
    layout = NodeLayout(template.steps)
    own = dict(types.results)
    types.returned = {spec.name: own.get(declared_step_name(spec), ANY) for spec in layout.specs}
    for spec in flatten_steps(template.steps):
        if spec.spawning is not None and spec.name in own:
            types.results[spec.name] = _instances_result_shape(spec, own[spec.name])
    for no, spec in enumerate(layout.specs, start=1):
        types.given[spec.name] = tuple(_enclosing_instance_inputs(types, layout, no))
    return types


def _instances_result_shape(spec: StepSpec, instance: Shape) -> Shape:
    """Return the shape of the result of a step with instances."""
    if isinstance(spec.spawning, Repeat):
        return instance
    return ListShape(instance) if spec.collect is CollectMode.LIST and spec.reduce is None else ANY


def _enclosing_instance_inputs(
    types: TemplateTypes, layout: NodeLayout, no: int
) -> Iterator[InstanceInput]:
    """Yield the inputs of the instances around a node, innermost first."""
    scope = layout.spawner_around(no)
    while scope:
        body = layout.bodies[scope]
        scope = layout.spawner_around(scope)
        match body.spawning:
            case Map(over=over, item=item):
                around = {
                    each.name: each.shape
                    for each in _enclosing_instance_inputs(types, layout, body.spawner)
                }
                yield InstanceInput(item, _element_shape(types, over, around), body.spawning)
            case Batch():
                yield InstanceInput("cursor", ANY, body.spawning)
            case Repeat():
                yield InstanceInput("iteration", ScalarShape("integer"), body.spawning)


def _element_shape(types: TemplateTypes, over: str, around: Mapping[str, Shape]) -> Shape:
    """Return the shape of a list's elements, as far as the schemas along its path define it."""
    node = compile_expression(over).node
    if not isinstance(node, Path):
        return ANY
    first, *keys = node.keys
    shape = types.input if first == "input" else around.get(str(first))
    if first == "results" and keys:
        shape = types.results.get(str(keys.pop(0)))
    records = {each.name: each for each in types.definitions if isinstance(each, Record)}
    for key in keys:
        shape = _member_shape(shape, key, records)
    return shape.items if isinstance(shape, ListShape) else ANY


def _member_shape(
    shape: Shape | None, key: str | int, records: Mapping[str, Record]
) -> Shape | None:
    match shape:
        case NullableShape(inner):
            return _member_shape(inner, key, records)
        case ListShape(inner) if isinstance(key, int):
            return inner
        case MapShape(inner):
            return inner
        case NamedShape(name) if name in records:
            return next((each.shape for each in records[name].fields if each.name == key), None)
    return None


class _SchemaReader:
    """Converts a JSON Schema to shapes; `$ref` refers to parts of that schema."""

    def __init__(self, types: TemplateTypes, root: JsonObject) -> None:
        self._types = types
        self._root = root
        self._names = {definition.name for definition in types.definitions}
        self._referenced: dict[str, Shape] = {}

    def read(self, schema: Any, name: str) -> Shape:
        """Return the shape of a schema, whose type gets the given name if it needs one."""
        if not isinstance(schema, Mapping):
            return ANY
        if "$ref" in schema:
            return self._read_reference(str(schema["$ref"]))
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._read_union(schema[union], name)
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else list(schema["enum"])
            return self._read_enum_values(values, schema, name)
        kinds = schema.get("type", "object" if "properties" in schema else "any")
        if isinstance(kinds, list):
            others = [kind for kind in kinds if kind != "null"]
            shape = self._read_single_type(others[0], schema, name) if len(others) == 1 else ANY
            return _make_nullable(shape) if "null" in kinds else shape
        return self._read_single_type(kinds, schema, name)

    def _read_single_type(self, kind: Any, schema: Mapping[str, Any], name: str) -> Shape:
        if kind == "array":
            return ListShape(self.read(schema.get("items", True), f"{name}Item"))
        if kind != "object":
            return ScalarShape(kind) if kind in _SCALARS else ANY
        if "properties" not in schema:
            return MapShape(self.read(schema.get("additionalProperties", True), f"{name}Value"))
        name = self._reserve_unused_name(name)
        required = schema.get("required", ())
        fields = tuple(
            RecordField(
                key,
                self.read(inner, f"{name}{pascal_case(key)}"),
                key in required,
                _schema_description(inner),
            )
            for key, inner in schema["properties"].items()
        )
        self._types.definitions.append(Record(name, fields, _schema_description(schema)))
        return NamedShape(name)

    def _read_enum_values(self, values: list[Any], schema: Mapping[str, Any], name: str) -> Shape:
        texts = [value for value in values if value is not None]
        if not texts or not all(isinstance(value, str) for value in texts):
            return ANY
        name = self._reserve_unused_name(name)
        self._types.definitions.append(Enumeration(name, tuple(texts), _schema_description(schema)))
        shape = NamedShape(name)
        return _make_nullable(shape) if None in values else shape

    def _read_union(self, options: Any, name: str) -> Shape:
        others = [option for option in options if option != {"type": "null"}]
        if len(others) != 1:
            return ANY
        shape = self.read(others[0], name)
        return shape if len(others) == len(options) else _make_nullable(shape)

    def _read_reference(self, reference: str) -> Shape:
        """Return the shape of a schema in `$defs`; one that refers to itself can be anything."""
        if reference not in self._referenced:
            self._referenced[reference] = ANY
            target: Any = self._root
            for part in reference.removeprefix("#").strip("/").split("/"):
                target = target.get(part) if isinstance(target, Mapping) else None
            self._referenced[reference] = self.read(
                target, pascal_case(reference.rpartition("/")[2])
            )
        return self._referenced[reference]

    def _reserve_unused_name(self, name: str) -> str:
        unused, number = name, 2
        while unused in self._names:
            unused, number = f"{name}{number}", number + 1
        self._names.add(unused)
        return unused


def _make_nullable(shape: Shape) -> Shape:
    """Return a shape that also allows null, which `any` already does."""
    return shape if shape == ANY or isinstance(shape, NullableShape) else NullableShape(shape)


def _schema_description(schema: Any) -> str:
    text = schema.get("description", "") if isinstance(schema, Mapping) else ""
    return one_line_comment(str(text))
