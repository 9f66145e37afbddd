"""Schemas that are small and would cost much: refused, or checked within a limit."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.template.problems import problems

from tasker import (
    JsonSchemaMismatchAction,
    LocalClient,
    Retry,
    Template,
    Worker,
    WorkerSettings,
    open_store,
)
from tasker.codec import dumps
from tasker.errors import InvalidInput, InvalidTemplate, TaskFailed
from tasker.model import JsonObject, StepSpec
from tasker.template.load import template_from_document
from tasker.template.schema import fill_and_check_input, find_result_violations
from tasker.template.schema_bounds import LIGHT_EXPANSION, LIGHT_NODES, is_quick_for_every_value

pytestmark = pytest.mark.anyio

LIMIT = 0.1  #: seconds of computing for which the event loop may stand still
LEVELS = 60
SOON = timedelta(seconds=60)


def doubling(keyword: str, levels: int) -> JsonObject:
    """Return a schema each of whose references leads to two of the next."""
    steps: dict[str, Any] = {
        f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {
        "$defs": {**steps, f"d{levels}": {"type": "string"}},
        "properties": {"v": {"$ref": "#/$defs/d0"}},
    }


def chain(length: int) -> JsonObject:
    """Return a schema of references, each of which leads to the next."""
    steps: dict[str, Any] = {
        f"d{no}": {"$ref": f"#/$defs/d{no + 1}", "default": 1} for no in range(length)
    }
    return {"$defs": {**steps, f"d{length}": {"type": "string"}}, "$ref": "#/$defs/d0"}


#: Fits nothing, and looks at each level twice: a value of n levels costs 2**n.
RECURSIVE: JsonObject = {
    "anyOf": [
        {"properties": {"a": {"$ref": "#"}}, "required": ["x"]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["y"]},
    ]
}


def deep(levels: int) -> JsonObject:
    value: JsonObject = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def template(schema: JsonObject | None = None, result: JsonObject | None = None) -> Template:
    return Template(
        namespace="tests",
        name="bomb",
        version="1.0.0",
        steps=(StepSpec(name="only", result_schema=result),),
        input_schema=schema,
    )


def refusal(schema: JsonObject) -> str:
    """Return why a template with this schema is refused."""
    with pytest.raises(InvalidTemplate) as raised:
        template_from_document({"name": "bomb", "steps": [{"name": "s"}], "input_schema": schema})
    [problem] = raised.value.problems
    return f"{problem.path}: {problem.message}"


async def longest_pause(work: Awaitable[object]) -> float:
    """Return for how long `work` kept the event loop from running, in CPU time."""
    pauses = [0.0]

    async def watch() -> None:
        last = time.process_time()
        while True:
            await asyncio.sleep(0.002)
            now = time.process_time()
            pauses.append(now - last)
            last = now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    try:
        await work
    finally:
        await asyncio.sleep(0.01)
        watching.cancel()
    return max(pauses)


@pytest.mark.parametrize("keyword", ["anyOf", "allOf", "oneOf"])
def test_references_that_multiply_are_refused_at_registration(keyword: str) -> None:
    assert refusal(doubling(keyword, 18)).endswith(
        "not a valid JSON Schema: more than 1,000 schemas would apply to one value"
        " when references are followed"
    )


def test_a_refusal_names_the_path_of_the_schema() -> None:
    [problem] = problems(
        "name: a\n"
        "steps: [{name: s}]\n"
        "input_schema:\n"
        "  $ref: '#/$defs/circle'\n"
        "  $defs:\n"
        "    circle:\n"
        "      allOf: [{$ref: '#/$defs/circle'}]\n"
    )

    assert problem == (
        "7:7 not a valid JSON Schema: its $refs lead back to the same schema without descending"
        " into the value"
    )


@pytest.mark.parametrize("length", [101, 15_000])
def test_long_chains_of_references_are_refused(length: int) -> None:
    assert refusal(chain(length)).endswith("a chain of references is longer than 100")


def test_identifiers_below_the_top_are_refused() -> None:
    """They would change the meaning of references and evade the bounds."""
    schema: JsonObject = {"properties": {"a": {"$id": "https://x.test/y", "type": "string"}}}

    assert refusal(schema) == (
        "input_schema.properties.a['$id']: not a valid JSON Schema: '$id' is allowed only at the"
        " top level"
    )


def test_the_number_of_patterns_is_bounded() -> None:
    many: dict[str, Any] = {f"p{no}": {"pattern": f"a{no}"} for no in range(1_001)}

    assert refusal({"properties": many}).endswith("it has more than 1,000 patterns")


def test_ordinary_recursion_and_shared_definitions_are_accepted() -> None:
    tree: JsonObject = {
        "$defs": {"node": {"properties": {"kids": {"items": {"$ref": "#/$defs/node"}}}}},
        "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
    }

    template_from_document({"name": "t", "steps": [{"name": "s"}], "input_schema": tree})


def test_a_large_schema_is_recognized_as_heavy_without_reading_all_of_it() -> None:
    """The check is cheap enough for the event loop."""
    read = 0

    class Counted(dict[str, Any]):
        def items(self) -> Any:
            nonlocal read
            read += 1
            return super().items()

    parts = {f"p{no}": Counted(enum=[1, 2, 3]) for no in range(LIGHT_EXPANSION - 1)}

    assert is_quick_for_every_value({"properties": parts})
    assert LIGHT_EXPANSION - 1 == read
    assert not is_quick_for_every_value({"properties": parts | {"more": {}}})
    read = 0
    assert not is_quick_for_every_value(
        {"$defs": {f"p{no}": Counted() for no in range(2 * LIGHT_NODES)}}
    )
    assert not is_quick_for_every_value(
        {"enum": list(range(LIGHT_NODES)), "$defs": {"rest": Counted()}}
    )
    assert read <= LIGHT_NODES


async def test_a_context_that_takes_long_to_check_is_refused_and_leaves_the_loop_free() -> None:
    async with open_store("sqlite::memory:") as store:
        client = LocalClient(store)
        await client.register(template(RECURSIVE))

        async def create() -> None:
            with pytest.raises(
                InvalidInput, match=r"input_schema of tests\.bomb@1\.0\.0 took longer than 2 s"
            ):
                await client.create_task("tests.bomb", deep(LEVELS))

        assert await longest_pause(create()) < LIMIT


async def test_a_result_that_takes_long_to_check_fails_its_step_and_leaves_the_loop_free() -> None:
    async with open_store("sqlite::memory:") as store:
        client = LocalClient(store)
        settings = WorkerSettings(results=JsonSchemaMismatchAction.ENFORCE)
        spec = StepSpec(name="only", result_schema=RECURSIVE, retry=Retry(max_attempts=1))
        bomb = replace(template(), steps=(spec,))

        async def run() -> None:
            with pytest.raises(TaskFailed) as raised:
                await client.run("tests.bomb", timeout=SOON)
            [step] = await client.steps(raised.value.task.id)
            assert "against its result_schema took longer than 2 s" in str(step.error)

        async with Worker(
            store, [{"only": lambda: deep(LEVELS)}], templates=[bomb], settings=settings
        ):
            assert await longest_pause(run()) < LIMIT


async def test_values_of_recursive_schemas_are_checked_and_filled() -> None:
    """In the process, which fills the same defaults and reports the same violations."""
    schema: JsonObject = {
        "properties": {
            "name": {"type": "string", "default": "unnamed"},
            "kids": {"items": {"$ref": "#"}},
        }
    }

    assert {"kids": [{"name": "unnamed"}], "name": "unnamed"} == await fill_and_check_input(
        template(schema), {"kids": [{}]}
    )
    with pytest.raises(InvalidInput) as raised:
        await fill_and_check_input(template(schema), {"kids": [{"kids": [{"name": 5}]}]})
    assert raised.value.path == "$.kids[0].kids[0].name"
    assert str(raised.value) == '$.kids[0].kids[0].name: 5 is not of type "string"'


async def test_the_next_check_works_after_one_that_was_stopped() -> None:
    with pytest.raises(InvalidInput):
        await fill_and_check_input(template(RECURSIVE), deep(LEVELS))

    assert {"x": 1} == await fill_and_check_input(template(RECURSIVE), {"x": 1})


def test_backtracking_patterns_are_stopped() -> None:
    """Each string is given up after 10,000 steps."""
    schema: JsonObject = {"items": {"pattern": r"(a*)*\1(a*)*\1(a*)*\1c"}}
    spec = StepSpec(name="only", result_schema=schema)

    began = time.process_time()
    problems = find_result_violations("tests.bomb@1.0.0", spec, dumps(["a" * 60 + "b"] * 20))
    assert time.process_time() - began < 0.5
    assert problems
