"""The rails dialect."""

from datetime import timedelta

import pytest

from tasker.model import (
    Backoff,
    CompensateSpec,
    JsonObject,
    Limit,
    Retry,
    StepSpec,
    TaskConcurrency,
    TriggerRule,
)
from tasker.template.load import parse_template


def only_step(keys: str) -> StepSpec:
    text = f"name: a\nstep_templates:\n- name: z\n- name: b\n{keys}"
    return parse_template(text).steps[1]


def test_every_key_is_read() -> None:
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
configuration: {region: eu}
concurrency: {key: "{input.id}", tasks: 1}
metadata: {author: somebody}
deadline_seconds: 90
step_templates:
  - name: first
    description: The first
    handler_class: Tests::First
    default_retryable: false
    default_retry_limit: 7
    skippable: true
    dependent_system: other
    compensate: Tests::Undo
  - name: second
    depends_on_step: first
    when: results.first.go
    trigger: none_failed
    allow_failure: true
    limits: [{key: ledger, concurrency: 2}]
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
        "configuration": {"region": "eu"},
        "concurrent": True,
    }
    assert template.steps == (
        StepSpec(
            name="first",
            description="The first",
            callable="Tests.First",
            retry=Retry(retryable=False, max_attempts=7),
            dependent_system="other",
            compensate=CompensateSpec(callable="Tests.Undo"),
        ),
        StepSpec(
            name="second",
            dependencies=("first",),
            dependent_system="ledger",
            when="results.first.go",
            trigger=TriggerRule.NONE_FAILED,
            allow_failure=True,
            limits=(Limit("ledger", concurrency=2),),
        ),
    )
    assert template.concurrency == TaskConcurrency("{input.id}", tasks=1)


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


def test_the_handler_receives_its_whole_configuration() -> None:
    """Including keys that the engine reads."""
    config: JsonObject = {"timeout_seconds": 5, "url": "http://x", "retry_delay": 2.0, "free": [1]}
    step = only_step(
        "  handler_config: {timeout_seconds: 5, url: 'http://x', retry_delay: 2.0, free: [1]}"
    )

    assert step.config == config
    assert step.timeout == timedelta(seconds=5)


def test_single_and_multiple_dependencies_are_combined() -> None:
    """A step named in both keys is awaited once."""
    template = parse_template(
        "name: a\nstep_templates:\n- name: x\n- name: y\n"
        "- {name: z, depends_on_step: x, depends_on_steps: [y, x]}"
    )

    assert template.steps[2].dependencies == ("x", "y")


def test_zero_attempts_mean_one() -> None:
    """A retry limit of 0 means one attempt."""
    assert only_step("  default_retry_limit: 0").retry.max_attempts == 1
