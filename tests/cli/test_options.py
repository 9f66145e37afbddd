"""How values of options are read."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from tasker.cli.options import parse_duration_option, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("10m", 600),
        ("10min", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("30d", 2_592_000),
        ("2W", 1_209_600),
        ("0", 0),
    ],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert timedelta(seconds=seconds) == parse_duration_option(text)


@pytest.mark.parametrize("text", ["", "soon", "1y", "-1d", "1d2", "1e3", "٣d", "9" * 30, "40000d"])
def test_an_invalid_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r'"1h30m"|is too long'):
        parse_duration_option(text)


def test_instants_are_absolute_or_in_the_past() -> None:
    assert datetime(2026, 1, 31, 12, tzinfo=UTC) == parse_time("2026-01-31T12:00:00Z")
    assert parse_time("2026-01-31").tzinfo is not None
    before = datetime.now(UTC)
    assert before - timedelta(hours=1) <= parse_time("1h") < before
    with pytest.raises(typer.BadParameter, match="neither a date or time"):
        parse_time("yesterday")
