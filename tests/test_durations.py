"""Durations, and the delays that servers ask for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker.durations import format_duration, human_duration, parse_duration, parse_retry_after
from tasker.errors import InvalidInput, InvalidTemplate, RetryableError
from tasker.model import Backoff, Retry
from tasker.workflow import Workflow

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30),
        (0.5, 0.5),
        (0, 0),
        (timedelta(minutes=1), 60),
        ("30", 30),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("90s", 90),
        ("90 s", 90),
        ("5m", 300),
        ("5min", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1d2h3m4s5ms", 93_784.005),
    ],
)
def test_numbers_timedeltas_and_text_are_durations(value: object, seconds: float) -> None:
    assert timedelta(seconds=seconds) == parse_duration(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "soon", "5x", "-5m", "m5", "1h1h", "5m5min", "1h30", [], -1, "1e3"),
        *(float("nan"), float("inf"), 1e300, timedelta(-1), "٥m", "9" * 30),
    ],
)
def test_everything_else_is_refused_with_the_allowed_forms(value: object) -> None:
    with pytest.raises(
        ValueError, match=r"must be a number of seconds, or text such as|must not be negative"
    ):
        parse_duration(value)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_500)))
def test_formatted_durations_can_be_parsed(length: timedelta) -> None:
    whole = timedelta(milliseconds=round(length / timedelta(milliseconds=1)))

    assert whole == parse_duration(format_duration(whole))


def test_durations_are_formatted_in_short_form() -> None:
    texts = ["0s", "500ms", "1h30m", "1d1s"]

    assert texts == [format_duration(parse_duration(text)) for text in texts]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (2, 2),
        (0.5, 0.5),
        (-1, 0),
        ("120", 120),
        ("5m", 300),
        (timedelta(minutes=2), 120),
        (timedelta(-1), 0),
        ("Tue, 01 Jan 2030 00:01:00 GMT", 60),
        ("Tue, 01 Jan 2030 00:01:00 -0000", 60),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 0),
    ],
)
def test_a_retry_after_header_is_a_delay(value: object, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert expected == parse_retry_after(value, lambda: NOW)


@pytest.mark.parametrize("value", ["soon", "", [], True, float("nan"), datetime(2030, 1, 1)])
def test_any_other_retry_after_is_refused(value: object) -> None:
    with pytest.raises(
        ValueError, match="retry_after must be a number of seconds, a timedelta or an HTTP"
    ):
        RetryableError("busy", retry_after=value)  # type: ignore[arg-type]


def test_a_retry_after_header_can_be_passed_as_it_is() -> None:
    headers = {"Retry-After": "7"}

    assert timedelta(seconds=7) == (
        RetryableError("busy", retry_after=headers.get("Retry-After")).retry_after
    )
    assert None is RetryableError("busy", retry_after=headers.get("retry")).retry_after


def test_a_retry_policy_accepts_names_and_durations() -> None:
    expected = Retry(
        backoff=Backoff.FIXED, initial_delay=timedelta(seconds=2), max_delay=timedelta(minutes=5)
    )

    assert expected == Retry(backoff="fixed", initial_delay=2, max_delay="5m")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("initial_delay", "soon", "initial_delay must be a number of seconds, or text such as"),
        ("max_delay", -1, "max_delay must not be negative"),
        ("backoff", "expo", "backoff must be one of none, fixed, linear"),
    ],
)
def test_an_invalid_retry_policy_names_the_argument(name: str, value: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        Retry(**{name: value})  # type: ignore[arg-type]
    assert f"$.{name}" == caught.value.path


def test_a_workflow_accepts_durations_as_text() -> None:
    workflow = Workflow("shop.order", deadline="1h")

    @workflow.step(timeout="5m")
    def pay() -> None: ...

    template = workflow.template
    assert (timedelta(hours=1), timedelta(minutes=5)) == (
        template.deadline,
        template.steps[0].timeout,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": "soon"}, "timeout must be a number of seconds, or text such as"),
        ({"timeout": [5]}, r"timeout must be a number of seconds.* not \[5\]"),
        ({"retry": 3}, r"retry must be a Retry such as Retry\(max_attempts=3\), not 3"),
        ({"retry": "often"}, r"retry must be a Retry"),
    ],
)
def test_invalid_options_of_a_step_are_reported_with_file_line_and_step(
    options: dict[str, object], message: str
) -> None:
    workflow = Workflow("shop.order")

    def pay() -> None: ...

    with pytest.raises(InvalidTemplate, match=message) as caught:
        workflow.step(**options)(pay)  # type: ignore[call-overload]
    problem = caught.value.problems[0]
    assert (__file__, pay.__code__.co_firstlineno, f"pay.{next(iter(options))}") == (
        problem.file,
        problem.line,
        problem.path,
    )


def test_an_invalid_deadline_of_a_workflow_is_refused() -> None:
    with pytest.raises(
        InvalidTemplate, match="deadline must be a number of seconds, or text such as"
    ):
        Workflow("shop.order", deadline="tomorrow")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0414, "41 ms"),
        (0.9999, "1 s"),
        (3.25, "3.2 s"),
        (30, "30 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (11_520, "3 h 12 min"),
        (349_200, "4 d 1 h"),
        (-5, "0 ms"),
        (None, ""),
    ],
)
def test_durations_are_formatted_for_people(seconds: float | None, text: str) -> None:
    assert text == human_duration(seconds)
    if seconds is not None:
        assert text == human_duration(timedelta(seconds=seconds))
