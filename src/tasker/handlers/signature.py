"""Reads the parameters of handlers from their signatures, once per handler."""

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from tasker.errors import Misuse
from tasker.handlers.context import AsyncContext, Context, SyncContext
from tasker.handlers.decorators import Config, Input, Result, Source
from tasker.handlers.instances import ItemMarker, instances_element_type
from tasker.model import Json, JsonObject

_CONTEXT_NAMES = ("context", "ctx")
_CONTEXTS = frozenset({Context, AsyncContext, SyncContext})
_ALIASES = {"Json": (Json, Any), "JsonObject": (JsonObject, dict[str, Any])}
"""Tasker's own recursive type aliases, by name. The names are defined only in `tasker.model`."""

Validate = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a handler."""

    name: str
    annotation: Any  #: without Tasker's markers; Any if there is no annotation
    source: Source | ItemMarker | None  #: from its marker; None: determined by its name
    takes_context: bool
    validate: Validate | None  #: converts a JSON value; None: values are not converted
    default: Any  #: inspect.Parameter.empty if it is required
    element: Any = None  #: `T` of `Instances[T]`; None: of another type

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class _ParameterLabel:
    """The name of a handler's parameter in error messages, formatted only if an error occurs."""

    handler: object
    name: str

    def __str__(self) -> str:
        return f"{self.handler}: parameter {self.name!r}"


def read_parameters(function: Callable[..., Any], *, what: object) -> tuple[Parameter, ...]:
    """Return the parameters of `function`.

    Args:
        function: A function or bound method.
        what: Its name in error messages, formatted only if an error occurs.

    Raises:
        Misuse: A parameter cannot be filled; the message has the reason.
    """
    try:
        signature = _inspect_signature(function)
    except (ValueError, TypeError):
        raise Misuse(f"{what} has no readable signature; write it as `def`") from None
    names = _AnnotationNames(function)
    return tuple(
        _read_parameter(parameter, names, _ParameterLabel(what, parameter.name))
        for parameter in signature.parameters.values()
    )


def read_return_annotation(function: Callable[..., Any]) -> Any:
    """Return the return annotation of `function`, or Any if it is absent or cannot be resolved."""
    try:
        annotation = _inspect_signature(function).return_annotation
        if annotation is inspect.Signature.empty:
            return Any
        return _AnnotationNames(function).resolve_annotation(annotation, "")
    except (Misuse, ValueError, TypeError):
        return Any


def _inspect_signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except NameError:  # from Python 3.14 on, annotations are evaluated on access
        from annotationlib import Format  # type: ignore[import-not-found,unused-ignore]

        how: dict[str, Any] = {"annotation_format": Format.STRING}
        return inspect.signature(function, **how)


def _read_parameter(
    parameter: inspect.Parameter, names: "_AnnotationNames", what: object
) -> Parameter:
    _check_parameter_kind(parameter, what)
    if isinstance(parameter.default, Source) or parameter.default in (Result, Input, Config):
        raise Misuse(
            f"{what} has a marker as its default; write"
            f" `{parameter.name}: Annotated[type, {parameter.default!r}]`"
        )
    if parameter.annotation is inspect.Parameter.empty:
        return Parameter(
            name=parameter.name,
            annotation=Any,
            source=None,
            takes_context=parameter.name in _CONTEXT_NAMES,
            validate=None,
            default=parameter.default,
        )
    annotation, source = _split_marker(names.resolve_annotation(parameter.annotation, what), what)
    takes_context = source is None and _is_context_type(annotation)
    element = instances_element_type(annotation)
    return Parameter(
        name=parameter.name,
        annotation=annotation,
        source=source,
        takes_context=takes_context,
        validate=None
        if takes_context
        else _make_validator(annotation if element is None else element, what),
        default=parameter.default,
        element=element,
    )


def _check_parameter_kind(parameter: inspect.Parameter, what: object) -> None:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise Misuse(
            f"{what} takes variadic arguments (`{parameter}`), but parameters are filled by"
            " name; name them, or use functools.wraps where a decorator wraps the handler"
        )
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise Misuse(f"{what} is positional-only, but parameters are filled by name; drop the `/`")


def _split_marker(annotation: Any, what: object) -> tuple[Any, Source | ItemMarker | None]:
    """Split `Annotated[T, marker, ...]` into the type without the marker, and the marker."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    kept, *notes = get_args(annotation)
    if any(note in (Result, Input, Config) for note in notes if isinstance(note, type)):
        raise Misuse(
            f'{what} has a marker that was not called; write, for example, Input() or Result("a")'
        )
    sources = [note for note in notes if isinstance(note, Source | ItemMarker)]
    if len(sources) > 1:
        raise Misuse(f"{what} has {len(sources)} markers; a parameter can have only one source")
    rest = tuple(note for note in notes if not isinstance(note, Source | ItemMarker))
    return (Annotated[(kept, *rest)] if rest else kept), (sources[0] if sources else None)


def _is_context_type(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return not _CONTEXTS.isdisjoint(get_args(annotation))
    return annotation in _CONTEXTS


def _make_validator(annotation: Any, what: object) -> Validate | None:
    if annotation is Any or annotation is object:
        return None
    try:
        return build_type_adapter(annotation).validator.validate_python
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        reason = str(error).split("\n", 1)[0]
        raise Misuse(
            f"{what} has a type to which no JSON value can be converted: {reason};"
            " use a dataclass, pydantic model, typed dict or standard library type"
        ) from error


def build_type_adapter(annotation: Any) -> TypeAdapter[Any]:
    """Return the fully built adapter of a type.

    Raises:
        PydanticUserError: pydantic does not support the type.
        PydanticUndefinedAnnotation: The type refers to a name that does not exist.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if not adapter.pydantic_complete:
        adapter.rebuild(force=True, raise_errors=True)
    return adapter


class _AnnotationNames:
    """The names that a function's string annotations may use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        plain: Any = inspect.unwrap(function)
        plain = getattr(plain, "func", plain)  # of a functools.partial
        if not hasattr(plain, "__globals__"):  # an object that can be called
            plain = inspect.getattr_static(type(plain), "__call__", plain)
        self._globals: dict[str, Any] = getattr(plain, "__globals__", {})
        self._closure: dict[str, Any] = {
            name: annotated
            for name, (alias, annotated) in _ALIASES.items()
            if self._globals.get(name) is alias
        }
        code = getattr(plain, "__code__", None)
        for name, cell in zip(
            code.co_freevars if code else (),
            getattr(plain, "__closure__", None) or (),
            strict=False,
        ):
            try:
                self._closure[name] = cell.cell_contents
            except ValueError:  # not filled yet
                continue

    def resolve_annotation(self, annotation: Any, what: object) -> Any:
        """Return the type of an annotation, which may be a string.

        Raises:
            Misuse: The annotation cannot be evaluated.
        """
        for alias, annotated in _ALIASES.values():
            if annotation == alias:
                return annotated
        holder = types.SimpleNamespace(__annotations__={"it": annotation})
        try:
            hints = typing.get_type_hints(holder, self._globals, self._closure, include_extras=True)
        except Exception as error:  # an annotation is code, and may raise anything
            raise Misuse(
                f"{what} has an annotation that cannot be evaluated ({annotation!r}):"
                f" {type(error).__name__}: {error}; the names in it must be importable when the"
                " worker runs, not only under TYPE_CHECKING"
            ) from error
        return hints["it"]
