"""Small texts that would become large."""

import pytest
from tests.template.problems import problems

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"k{no}: &k{no} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for no, before in enumerate(["a", *(f"k{no}" for no in range(9))])
)
DEEP = "&a0 [x]\n" + "".join(f"- &a{no} [*a{no - 1}]\n" for no in range(1, 200))
TAGS = "".join(f"%TAG !a{no}! b\n" for no in range(60_000)) + "--- a"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, "5:36 aliases repeat more than 100,000 values"),
        (MERGES, "6:15 aliases repeat more than 100,000 values"),
        ("- " + DEEP, "100:9 nested more than 100 levels deep after aliases are expanded"),
        ("[" * 1_000_000, "1:101 nested more than 100 levels deep"),
        ("{" * 1_000_000, "1:101 nested more than 100 levels deep"),
        ("- " * 500_000, "1:201 nested more than 100 levels deep"),
        ("? " * 500_000, "1:201 nested more than 100 levels deep"),
        (TAGS, "1:1 directives (%) are not supported"),
    ],
    ids=["laughs", "merges", "deep aliases", "lists", "mappings", "items", "keys", "directives"],
)
def test_bombs_are_refused_quickly(text: str, problem: str) -> None:
    """Before they grow."""
    assert problems(text) == [problem]


def test_environments_cannot_multiply_steps() -> None:
    """Each entry for ALL becomes an override for each step."""
    steps = ", ".join(f"{{name: s{no}}}" for no in range(10_000))
    many = ", ".join(f"e{no}: {{steps: [{{name: ALL}}]}}" for no in range(20_000))

    assert problems(f"name: a\nenvironments: {{{many}}}\nsteps: [{steps}]") == [
        "2:15 the environments contain more than 200,000 overrides of steps"
    ]


def test_long_texts_are_shortened_in_messages() -> None:
    """A message is for people."""
    [problem] = problems(f"name: {'a.' * 100_000}\nsteps: [{{name: b}}]")

    assert len(problem) < 300
