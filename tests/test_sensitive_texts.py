"""Sensitive values are found in texts, however programs write them there."""

import json
from urllib.parse import quote, quote_plus

import pytest

from tasker.masking import hide_sensitive_values, sensitive_texts_at
from tasker.sensitive_texts import CUT, MASKED, SensitiveTexts, written_forms

KEY = "-----BEGIN KEY-----\nMIIE \"a' \\ é\nlast line"
MANY = [f"value-{number:05}-{'x' * (number % 50)}" for number in range(2_000)]


def hiding(*values: str) -> SensitiveTexts:
    return SensitiveTexts(form for value in values for form in written_forms(value))


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        str(KeyError(KEY)),
        repr({"key": KEY}),
        repr(KEY.encode()),
        json.dumps({"key": KEY}),
        json.dumps({"key": KEY}, ensure_ascii=False),
        f"https://example.com/?key={quote(KEY, safe='')}",
        f"https://example.com/?key={quote_plus(KEY)}",
        *KEY.splitlines(),
        f"    {KEY.splitlines()[1]}  # indented",
    ],
)
@pytest.mark.parametrize("others", [(), MANY])
def test_a_value_is_hidden_however_it_is_written(text: str, others: list[str]) -> None:
    shown = hiding(KEY, *others).mask_in(f"failed: {text}!")

    assert shown.startswith("failed: ")
    assert shown.endswith("!")
    assert MASKED in shown
    assert not any(part in shown for part in ("BEGIN", "MIIE", "last"))


@pytest.mark.parametrize("others", [(), MANY])
@pytest.mark.parametrize("length", [4, 15, 16, 17, 40])
@pytest.mark.parametrize("end", ["", CUT])
def test_the_begin_of_a_value_is_hidden_at_the_end_of_a_text_that_was_cut_off(
    others: list[str], length: int, end: str
) -> None:
    secret = "4711-0815-4711-0815-4711-0815-4711-0815-4711"
    text = f"{'. ' * 150}the card {secret[:length]}{end}"

    shown = hiding(secret, *others).mask_in(text)

    assert "4711" not in shown
    assert shown.endswith(MASKED)


def test_a_short_text_is_not_taken_for_one_that_was_cut_off() -> None:
    assert "Mr. John" == hiding("John Smith").mask_in("Mr. John")


@pytest.mark.parametrize("others", [(), MANY])
@pytest.mark.parametrize(
    ("values", "text", "shown"),
    [
        (["abcd", "abcdefgh"], "_abcdefgh_", f"_{MASKED}_"),
        (["abcd", "cdefgh"], "_abcdefgh_", f"_{MASKED}_"),
        (["abcd", "efgh"], "_abcdefgh_", f"_{MASKED}{MASKED}_"),
        (["aaaa"], "aaaaaa", MASKED),
        (["abcdefghijklmnopqrst"], "abcdefghijklmnopqrs_", "abcdefghijklmnopqrs_"),
        (["abcd"], "abc", "abc"),
        (["abcd"], "", ""),
    ],
)
def test_values_that_overlap_are_hidden_together(
    others: list[str], values: list[str], text: str, shown: str
) -> None:
    assert shown == hiding(*values, *others).mask_in(text)


def test_many_values_with_the_same_begin_hide_the_rest_of_a_text() -> None:
    """Not to compare them one by one; what is hidden is never too little."""
    head = "https://example.com/"
    values = [head + "x" * number for number in range(1, 40)]

    assert f"see {MASKED}" == hiding(*values).mask_in(f"see {head}xyz and more")


def test_each_of_many_values_is_hidden() -> None:
    texts = hiding(*MANY)

    assert {MASKED} == {texts.mask_in(value) for value in MANY}
    assert "value-x" == texts.mask_in("value-x")


def test_values_of_a_json_value_are_replaced_wherever_they_are() -> None:
    value = {"pin": "1234", "number": 471108, "list": [True, None]}
    texts = SensitiveTexts(sensitive_texts_at(value))

    assert {
        f"a {MASKED}": [{"masked": True, "type": "number"}] * 2,
        "placeholder": {"masked": True, "type": "string"},
        "no placeholder": {"masked": True, "type": MASKED},
    } == hide_sensitive_values(
        {
            "a 1234": [1234, 471108],
            "placeholder": {"masked": True, "type": "string"},
            "no placeholder": {"masked": True, "type": "1234"},
        },
        texts,
    )
