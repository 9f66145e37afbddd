"""Figures about tasks on the command line, from a store and from a server."""

import signal
from typing import Any

import pytest
from tests.cli.conftest import Here, Project
from tests.cli.test_server import url_of


@pytest.fixture
def worked(tasker: Here) -> Here:
    """A store with one complete task and one that failed."""
    tasker.task()
    tasker.task('{"sku": "mug", "broke": true}')
    return tasker


def _counts(document: dict[str, Any]) -> tuple[int, int, int]:
    performance = document["performance"]
    names = ("total_tasks", "completed_tasks", "failed_tasks")
    total, complete, failed = (performance[name] for name in names)
    return total, complete, failed


def test_figures_show_totals_slow_and_failing_steps_and_errors(worked: Here) -> None:
    shown = worked("analytics")

    assert 0 == shown.code
    assert "2: 1 complete, 1 failed (50.0%), 0 cancelled, 0 open" in shown.out
    for title in ("Slowest steps", "Failing steps", "Most frequent errors"):
        assert title in shown.out
    assert "charge of shop.sell@1.0.0" in shown.out
    assert ["PermanentError", "CARD_EXPIRED", "1", "1"] in [
        line.split()[:4] for line in shown.out.splitlines()
    ]


@pytest.mark.parametrize(
    ("flags", "counts"),
    [
        ([], (2, 1, 1)),
        (["--template", "shop.sell@1.0.0", "--last", "1h"], (2, 1, 1)),
        (["--template", "shop.buy"], (0, 0, 0)),
        (["--namespace", "other"], (0, 0, 0)),
    ],
)
def test_figures_are_limited_to_the_selected_tasks(
    worked: Here, flags: list[str], counts: tuple[int, int, int]
) -> None:
    assert counts == _counts(worked("analytics", "--json", *flags).document)


def test_steps_that_ran_too_rarely_are_left_out(worked: Here) -> None:
    shown = worked("analytics", "--json", "--min-executions", "3").document

    assert ["charge"] == [step["step"] for step in shown["bottlenecks"]["slow_steps"]]


def test_a_window_beyond_a_year_is_refused(worked: Here) -> None:
    ran = worked("analytics", "--last", "400d")

    assert (2, "") == ran[:2]
    assert "hours must be greater than 0 and at most" in ran.err


def test_a_server_reports_the_same_figures(worked: Here) -> None:
    project: Project = worked.project
    with project.starting("server", "--port", "0") as server:
        remote = worked("analytics", "--server", url_of(server), "--json")
        server.send(signal.SIGTERM)
        assert 0 == server.end()

    assert (2, 1, 1) == _counts(remote.document)
    local = worked("analytics", "--json").document["bottlenecks"]
    for name in ("slow_steps", "failing_steps", "error_patterns"):
        assert local[name] == remote.document["bottlenecks"][name]
