import asyncio
import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker.errors import Misuse
from tasker.handlers import Context, StepHandler, handler
from tasker.handlers.decorators import find_handler_mark, normalize_handler_name


def test_a_decorated_function_stays_the_same_function() -> None:
    def charge(cents: int) -> int:
        return cents + 1

    assert charge is handler(charge)
    assert 6 == charge(5)


def test_a_decorated_async_function_stays_awaitable() -> None:
    @handler("charge")
    async def charge(cents: int) -> int:
        return cents + 1

    assert inspect.iscoroutinefunction(charge)
    assert 6 == asyncio.run(charge(5))


def test_the_default_name_is_the_name_of_the_function() -> None:
    @handler
    def plain() -> None: ...

    @handler("Payments::Charge")
    def named() -> None: ...

    @handler(name="charge")
    def keyword() -> None: ...

    @handler()
    def empty() -> None: ...

    assert [("plain",), ("Payments.Charge",), ("charge",), ("empty",)] == [
        _names(each) for each in (plain, named, keyword, empty)
    ]


def test_stacked_decorators_give_several_names() -> None:
    @handler("new")
    @handler("old")
    @handler("new")
    @handler
    def charge() -> None: ...

    assert {"new", "old", "charge"} == set(_names(charge))
    assert 3 == len(_names(charge))


def test_process_is_kept_by_decorators_above_it() -> None:
    @handler("crunch")
    @handler(process=True)
    def compute() -> None: ...

    mark = find_handler_mark(compute)
    assert mark is not None
    assert mark.process


def test_the_name_of_a_class_is_its_handler_name_or_its_own() -> None:
    @handler
    class Named(StepHandler):
        handler_name = "A::B"

    @handler
    class Unnamed(StepHandler): ...

    assert ("A.B",) == _names(Named)
    assert ("Unnamed",) == _names(Unnamed)


def test_a_subclass_does_not_inherit_the_decorator() -> None:
    @handler("base")
    class Base(StepHandler):
        def call(self, context: Context) -> Any: ...

    class Derived(Base): ...

    assert find_handler_mark(Derived) is None


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda: handler(7), "not type int"),  # type: ignore[call-overload]
        (lambda: handler("  "), "must not be empty"),
        (lambda: handler("::"), "must not be empty"),
        (lambda: handler("a", name="b"), "has two names"),
        (lambda: handler(process=True)(_async), "is async"),
    ],
)
def test_misuse_of_the_decorator_is_reported(misuse: Any, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        misuse()


async def _async() -> None: ...


@given(st.lists(st.text("AbZ_9", min_size=1), min_size=1))
def test_both_notations_of_a_path_are_the_same_name(parts: list[str]) -> None:
    dotted = ".".join(parts)
    assert dotted == normalize_handler_name("::".join(parts))
    assert dotted == normalize_handler_name("::" + "::".join(parts))
    assert dotted == normalize_handler_name(normalize_handler_name(dotted))


def _names(target: object) -> tuple[str, ...]:
    mark = find_handler_mark(target)
    assert mark is not None
    return tuple(each.name for each in mark.registrations)
