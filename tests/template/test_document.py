"""Templates as documents: nothing is lost, nothing is added."""

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from hypothesis import given, settings
from tests.template.templates import templates

from tasker.errors import InvalidTemplate
from tasker.model import Json, Retry, StepOverride, StepSpec, Template
from tasker.template.document import hash_template_document, template_to_document
from tasker.template.dump import dump_yaml
from tasker.template.load import parse_template, template_from_document
from tasker.template.stored import template_from_stored_document

SMALL = Template(namespace="default", name="a", version="0.1.0", steps=(StepSpec(name="b"),))


@settings(max_examples=100)
@given(templates())
def test_a_template_can_be_restored_from_its_document_and_its_yaml(template: Template) -> None:
    """Through JSON text as well, as stores keep it; YAML quotes words with a meaning of its own."""
    document = template_to_document(template)

    assert template_from_document(document) == template
    assert template_from_document(orjson.loads(orjson.dumps(document))) == template
    assert template_to_document(template_from_document(document)) == document
    assert template_from_stored_document(orjson.loads(orjson.dumps(document))) == template
    assert parse_template(dump_yaml(template)) == template


def test_defaults_are_left_out() -> None:
    assert template_to_document(SMALL) == {
        "name": "a",
        "namespace_name": "default",
        "version": "0.1.0",
        "steps": [{"name": "b"}],
    }


def test_keys_are_written_in_canonical_order() -> None:
    """Two documents can then be compared by eye."""
    step = StepSpec(
        name="b",
        description="The step",
        callable="A.B",
        method="run",
        config={"z": 1, "a": 2},
        dependencies=("c",),
        retry=Retry(max_attempts=5, initial_delay=timedelta(seconds=2.5)),
        timeout=timedelta(minutes=1),
        result_schema={},
        dependent_system="ledger",
    )
    template = replace(
        SMALL,
        description="All",
        deadline=timedelta(hours=1),
        steps=(step, StepSpec(name="c")),
        input_schema={"type": "object"},
        environments={
            "test": {"b": StepOverride(config={}, retry=Retry(), timeout=timedelta(seconds=1))}
        },
        metadata={"owner": "us"},
    )

    assert (
        dump_yaml(template)
        == """\
name: a
namespace_name: default
version: 0.1.0
description: All
deadline_seconds: 3600
input_schema:
  type: object
steps:
- name: b
  description: The step
  handler:
    callable: A.B
    method: run
    initialization:
      z: 1
      a: 2
  dependencies:
  - c
  retry:
    max_attempts: 5
    initial_delay: 2.5
  timeout_seconds: 60
  result_schema: {}
  system_dependency: ledger
- name: c
environments:
  test:
    steps:
    - name: b
      handler:
        initialization: {}
      retry:
        max_attempts: 3
        initial_delay: 1
      timeout_seconds: 1
metadata:
  owner: us
"""
    )
    assert parse_template(dump_yaml(template)) == template


def test_digests_depend_on_the_content() -> None:
    """Spelling, dialect, comments and the order of keys do not matter; the order of steps does."""
    newer = """
name: a
version: 1.0.0   # the first
steps:
- {name: b, handler: {callable: 'X::B', initialization: {p: 1, q: 2}}, retry: {max_attempts: 3}}
- {name: c, dependencies: [b]}
"""
    older = """
version: "1.0.0"
namespace_name: default
name: a
step_templates:
- {name: b, handler_class: X.B, handler_config: {q: 2, p: 1}}
- {name: c, depends_on_step: b}
"""
    template = parse_template(newer)
    swapped = replace(template, steps=tuple(reversed(template.steps)))

    assert hash_template_document(
        template_to_document(parse_template(older))
    ) == hash_template_document(template_to_document(template))
    assert hash_template_document(template_to_document(swapped)) != hash_template_document(
        template_to_document(template)
    )
    assert hash_template_document(
        template_to_document(replace(template, version="1.0.1"))
    ) != hash_template_document(template_to_document(template))


def test_a_digest_is_the_same_on_every_machine() -> None:
    """It is stored, and compared by later releases."""
    assert (
        hash_template_document(template_to_document(SMALL))
        == "00df871082e74c14c01adc528e4f398276855e79ec149fb71083d90fcc4cd9aa"
    )


def test_documents_of_the_older_dialect_are_read() -> None:
    """Callers of the API may send them."""
    document: Json = {"name": "a", "step_templates": [{"name": "b"}]}
    assert isinstance(document, dict)

    assert template_from_document(document) == SMALL


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"name": "a"}, "'steps' is missing: a template needs at least one step"),
        (
            {"name": "a", "steps": [{"name": "b"}, {"name": "b"}]},
            "the step 'b' is duplicated; it is first defined at steps[0].name (at steps[1].name)",
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "version": 1.0},
            "1.0 without quotes is a number, not a version; write three parts, in quotes:"
            ' "1.0.0" (at version)',
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "metadata": {"x": float("nan")}},
            "nan is not a valid JSON number (at metadata.x)",
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "metadata": {"x": "a\0b"}},
            "a string contains a NUL character or an unpaired surrogate (at metadata.x)",
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "metadata": {"x": "\ud800"}},
            "a string contains a NUL character or an unpaired surrogate (at metadata.x)",
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "metadata": {"x": {1, 2}}},
            "a set cannot be represented as JSON (at metadata.x)",
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "metadata": {1: "x"}},
            "the key 1 is not a string (at metadata)",
        ),
        (
            {"name": "a", "steps": [{"name": "b"}], "metadata": {"x": 2**70}},
            "an integer needs more than 64 bits; write it as a string (at metadata.x)",
        ),
        ([], "must be a template (a mapping with 'name' and 'steps'), found a list"),
    ],
)
def test_documents_are_checked_like_yaml(document: Json, problem: str) -> None:
    with pytest.raises(InvalidTemplate) as raised:
        template_from_document(document)  # type: ignore[arg-type]  # others may send anything

    assert str(raised.value) == problem


def test_a_document_that_contains_itself_is_refused() -> None:
    """The depth is bounded."""
    circle: dict[str, Json] = {}
    circle["again"] = circle

    with pytest.raises(InvalidTemplate, match="nested more than 100 levels deep"):
        template_from_document({"name": "a", "steps": [{"name": "b"}], "metadata": circle})
