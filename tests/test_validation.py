"""Sentences about values that pydantic rejected."""

import re
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import pytest
from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import AfterValidator, AwareDatetime, BaseModel, TypeAdapter, ValidationError
from pydantic_core.core_schema import ErrorType

from tasker.validation import describe_validation_error


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Box(BaseModel):
    size: Size


def refuse(value: object) -> object:
    raise ValueError("must not be a box")


def sentence(kind: Any, value: object) -> str:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    return describe_validation_error(raised.value.errors()[0])


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (int, "x", "must be an integer"),
        (int, None, "must be an integer"),
        (int, 1.5, "must be an integer, without a fraction"),
        (float, "x", "must be a number"),
        (bool, "x", "must be true or false"),
        (str, 5, "must be a string"),
        (dict[str, int], 5, "must be an object"),
        (Box, 5, "must be an object"),
        (Box, {}, "is required"),
        (Box, {"size": "medium"}, "must be 'small' or 'large'"),
        (Literal["a", "b"], "c", "must be 'a' or 'b'"),
        (list[int], 5, "must be a list"),
        (tuple[int, ...], 5, "must be a list"),
        (Annotated[int, Ge(1)], 0, "must be at least 1"),
        (Annotated[int, Gt(1)], 0, "must be greater than 1"),
        (Annotated[int, Le(1)], 2, "must be at most 1"),
        (Annotated[int, Lt(1)], 2, "must be less than 1"),
        (Annotated[str, Len(1)], "", "must have at least 1 character"),
        (Annotated[list[int], Len(0, 2)], [1, 2, 3], "must have at most 2 items"),
        (UUID, "x", "must be a UUID"),
        (date, "x", "must be a date such as 2030-01-31"),
        (datetime, "x", "must be a date and time such as 2030-01-31T12:00:00Z"),
        (AwareDatetime, "2030-01-31T12:00", "must have a time zone, such as 2030-01-31T12:00:00Z"),
        (timedelta, "x", "must be a duration"),
        (Annotated[object, AfterValidator(refuse)], 5, "must not be a box"),
    ],
)
def test_each_fault_has_a_sentence_of_our_own(kind: Any, value: object, text: str) -> None:
    assert text == sentence(kind, value)


CONTEXT = {
    **dict.fromkeys(("expected", "pattern", "class", "expected_tags", "expected_schemes"), "x"),
    **dict.fromkeys(("gt", "ge", "lt", "le", "multiple_of", "expected_version"), 1),
    **{"min_length": 1, "max_length": 2},
}


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_no_sentence_is_in_the_words_of_pydantic(kind: str) -> None:
    """Whatever the type of the error."""
    error = {"type": kind, "msg": "Input should be something", "ctx": CONTEXT}

    assert not re.search(r"(?i)input|value error|field required", describe_validation_error(error))
