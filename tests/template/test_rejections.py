"""Every kind of mistake is reported with its line and column.

The mistakes are in `rejections/*.txt`: a text, then what it is refused for, each line after
`!!` as `line:column message`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.template.problems import get_problems, problems

CASES = Path(__file__).parent / "rejections"
CASE = re.compile(r"(.*?)((?:^!! [^\n]*\n?)+)\n?", re.DOTALL | re.MULTILINE)


def cases() -> Iterator[object]:
    for path in sorted(CASES.glob("*.txt")):
        for text, expected in CASE.findall(path.read_text()):
            yield pytest.param(text, expected, id=f"{path.stem}: {expected[3:70].splitlines()[0]}")


@pytest.mark.parametrize(("text", "expected"), list(cases()))
def test_errors_are_reported_with_their_position(text: str, expected: str) -> None:
    """Exactly these problems, and at these places."""
    assert problems(text) == [line.removeprefix("!! ") for line in expected.splitlines()]


def test_a_long_cycle_is_shortened() -> None:
    """Ten steps from both of its ends."""
    steps = "".join(f"- {{name: s{no}, dependencies: [s{(no + 1) % 60}]}}\n" for no in range(60))

    assert problems(f"name: a\nsteps:\n{steps}") == [
        "3:29 the dependencies form a cycle: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> s8"
        " -> s9 -> ... 41 more ... -> s51 -> s52 -> s53 -> s54 -> s55 -> s56 -> s57 -> s58 -> s59"
        " -> s0"
    ]


def test_all_errors_are_reported_in_the_order_of_the_file() -> None:
    """One run is enough to correct a file."""
    text = """name: a
version: 1.0
steps:
- name: b
  retry: {max_attempts: -1}
- name: b
  dependencies: [x]
name: c
input_schema: {type: strin, title: no}
"""
    places = [problem.split(" ")[0] for problem in problems(text)]

    assert places == ["2:10", "5:25", "6:9", "7:18", "8:1", "9:22", "9:36"]


def test_an_error_has_a_path_in_the_document() -> None:
    text = "name: a\nsteps: [{name: b, retry: {jitter: 2}}]\nx y: 1"

    assert [str(problem) for problem in get_problems(text)] == [
        "t.yaml:2:35: must be from 0 to 1, found 2 (at steps[0].retry.jitter)",
        "t.yaml:3:1: unknown key 'x y' in a template; allowed: name, namespace_name, version,"
        " description, title, attributes, sensitive, retention, priority, durability, limits,"
        " concurrency, compensation, events, schedules, deadline_seconds, input_schema, steps,"
        " environments, metadata, lifecycle, system_dependencies, domain_events, task_handler,"
        " identity_strategy (at ['x y'])",
    ]


def test_problems_beyond_a_hundred_are_counted() -> None:
    """A generated file may be wrong in every line."""
    keys = "".join(f"k{no}: 1\n" for no in range(130))
    listed = problems(f"name: a\n{keys}steps: [{{name: b}}]")

    assert len(listed) == 101
    assert listed[-1] == "and 30 more problems"


def test_more_than_ten_thousand_steps_are_refused() -> None:
    steps = "".join(f"- {{name: s{no}}}\n" for no in range(10_001))

    assert problems(f"name: a\nsteps:\n{steps}") == [
        "3:1 a template may have at most 10,000 steps, found 10,001"
    ]


def test_an_empty_text_is_refused() -> None:
    """A text with only comments is refused too."""
    assert problems("") == ["the file is empty: it must contain a template"]
    assert problems("# soon\n") == ["the file is empty: it must contain a template"]
