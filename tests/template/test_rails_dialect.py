"""The rails dialect."""

from datetime import timedelta

import pytest

from tasker.model import Backoff, JsonObject, Retry, StepSpec
from tasker.template.load import parse_template


def only_step(keys: str) -> StepSpec:
    text = f"name: a\nstep_templates:\n- name: z\n- name: b\n{keys}"
    return parse_template(text).steps[1]


def test_every_key_reaches_the_model() -> None:
    """Keys without a field are kept in the metadata."""
    template = parse_template(
        """
name: everything
namespace_name: tests
version: 1.2.3
description: All keys
task_handler_class: Tests::Everything
module_namespace: Tests
concurrent: true
default_dependent_system: ledger
named_steps: [first, second]
schema: {type: object}
handler_config: {verbose: true}
metadata: {author: somebody}
deadline_seconds: 90
step_templates:
  - name: first
    description: The first
    handler_class: Tests::First
    default_retryable: false
    default_retry_limit: 7
    skippable: false
    dependent_system: other
  - name: second
    depends_on_step: first
"""
    )

    assert template.full_name == "tests.everything@1.2.3"
    assert template.deadline == timedelta(seconds=90)
    assert template.input_schema == {"type": "object"}
    assert template.metadata == {
        "author": "somebody",
        "task_handler_class": "Tests::Everything",
        "module_namespace": "Tests",
        "handler_config": {"verbose": True},
        "concurrent": True,
    }
    assert template.steps == (
        StepSpec(
            name="first",
            description="The first",
            callable="Tests.First",
            retry=Retry(retryable=False, max_attempts=7),
            dependent_system="other",
        ),
        StepSpec(name="second", dependencies=("first",), dependent_system="ledger"),
    )


@pytest.mark.parametrize(
    ("config", "retry"),
    [
        ("{retry_delay: 2.5}", Retry(initial_delay=timedelta(seconds=2.5))),
        ("{enable_exponential_backoff: true}", Retry(backoff=Backoff.EXPONENTIAL)),
        ("{enable_exponential_backoff: false}", Retry(backoff=Backoff.FIXED)),
        ("{jitter_factor: 0.25}", Retry(jitter=0.25)),
        ("{max_delay: 5}", Retry(max_delay=timedelta(seconds=5))),
        ("{url: 'http://x', retry_delay: }", Retry()),
    ],
)
def test_retries_are_configured_with_the_handler(config: str, retry: Retry) -> None:
    """The connection's settings and the retry's stand side by side in `handler_config`."""
    assert only_step(f"  handler_config: {config}").retry == retry


def test_the_handler_gets_all_of_its_config() -> None:
    """Including keys that the engine reads."""
    config: JsonObject = {"timeout_seconds": 5, "url": "http://x", "retry_delay": 2.0, "free": [1]}
    step = only_step(
        "  handler_config: {timeout_seconds: 5, url: 'http://x', retry_delay: 2.0, free: [1]}"
    )

    assert step.config == config
    assert step.timeout == timedelta(seconds=5)


def test_one_and_several_dependencies_add_up() -> None:
    """A step named in both keys is awaited once."""
    template = parse_template(
        "name: a\nstep_templates:\n- name: x\n- name: y\n"
        "- {name: z, depends_on_step: x, depends_on_steps: [y, x]}"
    )

    assert template.steps[2].dependencies == ("x", "y")


def test_the_first_attempt_always_runs() -> None:
    """A retry limit of 0 means one attempt."""
    assert only_step("  default_retry_limit: 0").retry.max_attempts == 1
