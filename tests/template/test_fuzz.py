"""Whatever the text, it is a template or told to be wrong; nothing else happens."""

from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.template.templates import words

from tasker.errors import DocumentProblem, InvalidTemplate
from tasker.model import Json
from tasker.template.dialects import core, rails
from tasker.template.document import template_to_document
from tasker.template.dump import dump_yaml
from tasker.template.load import parse_template, template_from_document
from tasker.template.reading import AllowedKeys

SEEDS = [
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent.parent / "seeds").glob("*.yaml"))
]
ORDINARY = settings(max_examples=300)
TABLES = [
    table
    for dialect in (core, rails)
    for table in vars(dialect).values()
    if isinstance(table, AllowedKeys)
]
KEYS = sorted({key for table in TABLES for key in (*table.allowed, *table.rejected)})

keys = st.sampled_from(KEYS) | words
leaves = st.sampled_from([None, True, 0, -1, 1.5, 1e300, "a", "b", "ALL", "exponential", "1.0.0"])
documents: st.SearchStrategy[Json] = st.recursive(
    leaves | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
    max_leaves=40,
)


def check(source: str | bytes) -> None:
    try:
        template = parse_template(source, file="t.yaml")
    except InvalidTemplate as error:
        assert error.problems
        assert all(well_told(problem) for problem in error.problems)
    else:
        assert template_from_document(template_to_document(template)) == template
        assert parse_template(dump_yaml(template)) == template


def well_told(problem: DocumentProblem) -> bool:
    return bool(problem.message and problem.file == "t.yaml" and len(str(problem)) < 2_000)


@ORDINARY
@given(st.text())
@example("a: \x85")
@example("? ")
@example("- - ? - : -")
@example('"\\')
@example("--- >\n\n...\n%")
@example("&a &a")
@example("<<: &a {<<: *a}")
@example("<<: [[{}]]")
@example("*a : b")
@example("!<!> a")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Most are not YAML."""
    check(text)


@ORDINARY
@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Most are not text."""
    check(data)


@ORDINARY
@given(st.text(alphabet="ab:-?[]{},&*!|>'\"%@`# \n\t<~0.1"))
def test_any_yaml_syntax_is_read_or_refused(text: str) -> None:
    """Some are YAML."""
    check(text)


@ORDINARY
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), words), min_size=1, max_size=5),
)
def test_mutated_templates_are_read_or_refused(
    text: str, changes: list[tuple[float, int, str]]
) -> None:
    """Most are nearly templates."""
    for where, length, new in changes:
        start = int(where * len(text))
        text = text[:start] + new + text[start + length :]
    check(text)


@ORDINARY
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=5))
def test_swapped_lines_never_crash_the_reader(text: str, swaps: list[tuple[float, float]]) -> None:
    """Exchanged lines put keys in wrong places."""
    lines = text.split("\n")
    for one, other in swaps:
        first, second = int(one * (len(lines) - 1)), int(other * (len(lines) - 1))
        lines[first], lines[second] = lines[second], lines[first]
    check("\n".join(lines))


@ORDINARY
@given(st.dictionaries(keys, documents, max_size=8), st.lists(documents, max_size=4))
def test_any_document_with_known_keys_is_read_or_refused(
    top: dict[str, Json], steps: list[Json]
) -> None:
    """Values of every kind occur in every place."""
    document = {"name": "a", **top, "steps": [{"name": "b"}, *steps]}
    check(yaml.safe_dump(document, allow_unicode=True))


@ORDINARY
@given(documents)
def test_any_python_object_is_read_or_refused(document: Json) -> None:
    """Callers of the API may send it."""
    try:
        template_from_document(document)  # type: ignore[arg-type]  # others may send anything
    except InvalidTemplate as error:
        assert error.problems
