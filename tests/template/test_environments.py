"""What environments change."""

from datetime import timedelta

import pytest

from tasker.model import Backoff, Retry, StepOverride
from tasker.template.load import parse_template

TEXT = """
name: a
steps:
  - name: b
    handler: {initialization: {url: real, limit: 5}}
    retry: {max_attempts: 5, backoff: fixed, initial_delay: 20, max_delay: 40}
    timeout_seconds: 60
  - name: c
environments:
  test:
    steps:
      - name: b
        handler: {initialization: {url: fake}}
        retry: {max_attempts: 2}
      - name: ALL
        handler: {initialization: {url: none, quick: true}}
        retry: {max_delay: 1}
        timeout_seconds: 5
  production:
    steps:
      - name: c
        timeout_seconds: 90
  empty:
"""


def test_an_override_of_one_step_wins_over_one_of_all_steps() -> None:
    """Regardless of their order in the text."""
    template = parse_template(TEXT)

    assert template.environments == {
        "test": {
            "b": StepOverride(
                config={"url": "fake", "quick": True},
                retry=Retry(
                    max_attempts=2,
                    backoff=Backoff.FIXED,
                    initial_delay=timedelta(seconds=1),
                    max_delay=timedelta(seconds=1),
                ),
                timeout=timedelta(seconds=5),
            ),
            "c": StepOverride(
                config={"url": "none", "quick": True},
                retry=Retry(max_delay=timedelta(seconds=1)),
                timeout=timedelta(seconds=5),
            ),
        },
        "production": {"c": StepOverride(timeout=timedelta(seconds=90))},
        "empty": {},
    }


def test_a_task_runs_with_the_overrides_of_its_environment() -> None:
    """Keys that an override does not write keep the step's own values."""
    template = parse_template(TEXT)
    step = template.for_environment("test").step("b")

    assert step.config == {"url": "fake", "limit": 5, "quick": True}
    assert (step.retry.max_attempts, step.retry.backoff) == (2, Backoff.FIXED)
    assert step.timeout == timedelta(seconds=5)
    assert template.for_environment("production").step("b") == template.step("b")
    assert template.for_environment("staging") == template
    assert template.for_environment(None) == template


def test_the_rails_dialect_has_its_own_keys_for_overrides() -> None:
    """Its retry settings stand with the handler's settings."""
    template = parse_template(
        """
name: a
step_templates:
  - name: b
    default_retry_limit: 5
    handler_config: {url: real, retry_delay: 2.0, timeout_seconds: 60}
  - name: c
environments:
  test:
    step_templates:
      - name: b
        default_retry_limit: 1
        handler_config: {url: fake, retry_delay: 0, timeout_seconds: 1}
      - name: c
        handler_config: {free: 1}
"""
    )

    assert template.environments["test"] == {
        "b": StepOverride(
            config={"url": "fake", "retry_delay": 0, "timeout_seconds": 1},
            retry=Retry(max_attempts=1, initial_delay=timedelta(0)),
            timeout=timedelta(seconds=1),
        ),
        "c": StepOverride(config={"free": 1}),
    }


@pytest.mark.parametrize(
    ("override", "first", "most"),
    [("initial_delay: 50", 50, 50), ("max_delay: 10", 10, 10), ("max_delay: 30", 20, 30)],
)
def test_the_first_delay_is_at_most_the_maximum_delay(override: str, first: int, most: int) -> None:
    """If only one of the two is given, the other follows."""
    template = parse_template(
        "name: a\nsteps: [{name: b, retry: {initial_delay: 20, max_delay: 40}}]\n"
        f"environments: {{t: {{steps: [{{name: b, retry: {{{override}}}}}]}}}}"
    )
    retry = template.for_environment("t").steps[0].retry

    assert (retry.initial_delay.seconds, retry.max_delay.seconds) == (first, most)
