"""Failures that repeat themselves are logged at growing intervals."""

import logging

import pytest

from tasker.engine.repeated import RepeatedWarning


def test_a_failure_is_logged_at_growing_intervals_and_anew_after_a_success(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    warning = RepeatedWarning(logging.getLogger("tasker.worker"), "it_fails", clock=lambda: now)

    for now in (0.0, 1.0, 9.0, 10.0, 29.0, 30.0, 69.0, 70.0):
        warning.log_failure_if_due(at=now)
    warning.note_success()
    now = 71.0
    warning.log_failure_if_due(at=now)

    assert [0.0, 10.0, 30.0, 70.0, 71.0] == [vars(record)["at"] for record in caplog.records]
