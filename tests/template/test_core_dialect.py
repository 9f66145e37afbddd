"""The core dialect."""

from datetime import timedelta

import pytest

from tasker import InvalidTemplate, Limit
from tasker.model import Backoff, Map, Retry, StepSpec, WorkerRequirement
from tasker.template.document import template_to_document
from tasker.template.load import parse_template, template_from_document

EVERYTHING = """
name: everything
namespace: tests
version: 1.2.3-rc.1+build.5
description: All keys
deadline_seconds: 90.5
schema:
  type: object
system_dependencies: {primary: ledger}
metadata: {author: somebody}
steps:
  - name: first
    description: The first
    handler:
      callable: ::Tests::StepHandlers::First
      method: check
      initialization: {limit: 5, nested: {list: [1, 2.5, null, true]}}
    retry:
      retryable: false
      max_attempts: 7
      backoff: fibonacci
      initial_delay: 0.25
      max_delay: 10
      jitter: 0
    timeout_seconds: 1.5
    result_schema: {type: object, required: [id]}
    system_dependency: ledger
    type: standard
  - name: second
    handler: opaque-key
    depends_on: [first]
    retry: {backoff_base_ms: 1500, max_backoff_ms: 30000}
  - name: third
    dependencies: [first, second]
"""


def test_every_key_is_read() -> None:
    """Aliases included."""
    template = parse_template(EVERYTHING)

    assert template.full_name == "tests.everything@1.2.3-rc.1+build.5"
    assert template.description == "All keys"
    assert template.deadline == timedelta(seconds=90.5)
    assert template.input_schema == {"type": "object"}
    assert template.metadata == {
        "author": "somebody",
        "system_dependencies": {"primary": "ledger"},
    }
    assert template.steps == (
        StepSpec(
            name="first",
            description="The first",
            callable="Tests.StepHandlers.First",
            method="check",
            config={"limit": 5, "nested": {"list": [1, 2.5, None, True]}},
            retry=Retry(
                retryable=False,
                max_attempts=7,
                backoff=Backoff.FIBONACCI,
                initial_delay=timedelta(seconds=0.25),
                max_delay=timedelta(seconds=10),
                jitter=0.0,
            ),
            timeout=timedelta(seconds=1.5),
            result_schema={"type": "object", "required": ["id"]},
            dependent_system="ledger",
        ),
        StepSpec(
            name="second",
            callable="opaque-key",
            dependencies=("first",),
            retry=Retry(initial_delay=timedelta(seconds=1.5), max_delay=timedelta(seconds=30)),
        ),
        StepSpec(name="third", dependencies=("first", "second")),
    )


def test_everything_except_name_and_steps_has_a_default() -> None:
    """A step needs its name alone; its handler is then named like it."""
    template = parse_template("name: tiny\nsteps: [{name: only}]")

    assert template.full_name == "default.tiny@0.1.0"
    assert template.steps == (StepSpec(name="only"),)
    assert template.steps[0].handler == "only"
    assert template.steps[0].retry == Retry(
        retryable=True,
        max_attempts=3,
        backoff=Backoff.EXPONENTIAL,
        initial_delay=timedelta(seconds=1),
        max_delay=timedelta(seconds=60),
        jitter=0.1,
    )


def test_a_key_without_value_counts_as_absent() -> None:
    """For example when everything below it is commented out."""
    template = parse_template(
        "name: a\ndescription:\nenvironments:\nsteps:\n- name: b\n  dependencies:\n  retry:\n"
    )

    assert template.steps == (StepSpec(name="b"),)


def test_json_is_read_too() -> None:
    """JSON writes characters beyond 16 bits as two escapes, and slashes escaped."""
    template = parse_template(
        '{"name": "a",\n\t"description": "\\ud83d\\ude00 \\/ \\\\ud83d",\n"steps": [{"name": "b"}]}'
    )

    assert template.description == "😀 / \\ud83d"


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("A::B::C", "A.B.C"),
        ("::A::B", "A.B"),
        ("A.B.C", "A.B.C"),
        ("package.module:function", "package.module:function"),
        ("validate", "validate"),
    ],
)
def test_colons_and_dots_in_the_names_of_handlers_are_equivalent(written: str, normal: str) -> None:
    """`A::B` and `A.B` are the same handler."""
    template = parse_template(f"name: a\nsteps: [{{name: b, handler: {{callable: '{written}'}}}}]")

    assert template.steps[0].callable == normal


def test_a_missing_delay_is_derived_from_the_given_one() -> None:
    """A first delay beyond the default cap lifts it; a cap below the default first lowers it."""
    template = parse_template(
        "name: a\nsteps:\n- {name: b, retry: {initial_delay: 120}}\n"
        "- {name: c, retry: {max_delay: 0.5}}"
    )

    assert [(step.retry.initial_delay, step.retry.max_delay) for step in template.steps] == [
        (timedelta(seconds=120), timedelta(seconds=120)),
        (timedelta(seconds=0.5), timedelta(seconds=0.5)),
    ]


def test_the_same_delay_may_be_written_in_both_units() -> None:
    """Files made for two engines do so."""
    template = parse_template(
        "name: a\nsteps: [{name: b, retry: {initial_delay: 2, backoff_base_ms: 2000}}]"
    )

    assert template.steps[0].retry.initial_delay == timedelta(seconds=2)


def test_a_lifecycle_gives_the_deadline() -> None:
    """Tasker Core wrote it in minutes."""
    template = parse_template("name: a\nlifecycle: {max_duration_minutes: 90}\nsteps: [{name: b}]")

    assert template.deadline == timedelta(minutes=90)


def test_anchors_and_merges_save_repetition() -> None:
    """A step's own keys win over what `<<` merges, and the first of several over the others."""
    template = parse_template(
        """
name: a
metadata:
  patient: &patient {max_attempts: 9, jitter: 0}
  slow: &slow {initial_delay: 5, max_attempts: 2}
steps:
  - name: b
    retry: *patient
  - name: c
    retry: {<<: [*patient, *slow], jitter: 0.5}
"""
    )

    assert template.steps[0].retry == Retry(max_attempts=9, jitter=0.0)
    assert template.steps[1].retry == Retry(
        max_attempts=9, jitter=0.5, initial_delay=timedelta(seconds=5)
    )


def test_words_have_the_meaning_of_yaml_1_2() -> None:
    """Times, dates and versions of three parts are text; numbers are numbers."""
    template = parse_template(
        """
name: a
metadata:
  text: [22:30, 2024-05-01, 1.2.3, +, "yes", '01', ~x, !!str 5, "a\\tb"]
  numbers: [1, -2, 0x1F, 0o17, 1e3, .5, -0.5, 9223372036854775807]
  words: [true, False, null, ~]
  404: key
steps: [{name: b}]
"""
    )

    assert template.metadata == {
        "text": ["22:30", "2024-05-01", "1.2.3", "+", "yes", "01", "~x", "5", "a\tb"],
        "numbers": [1, -2, 31, 15, 1000.0, 0.5, -0.5, 9223372036854775807],
        "words": [True, False, None, None],
        "404": "key",
    }


def test_ten_thousand_steps_load() -> None:
    """That is the maximum."""
    steps = "\n".join(
        f"- {{name: s{no}, dependencies: [{f's{no - 1}' if no else ''}]}}" for no in range(10_000)
    )
    template = parse_template(f"name: long\nsteps:\n{steps}")

    assert len(template.steps) == 10_000
    assert template.steps[-1] == StepSpec(name="s9999", dependencies=("s9998",))


CORE_APPLICATION = """
name: bulk_import
namespace_name: imports
version: 1.0.0
task_handler: {callable: Imports::TaskHandler, initialization: {queue: bulk}}
identity_strategy: caller_provided
domain_events: []
lifecycle:
  max_duration_minutes: 60
  max_waiting_for_retry_minutes: 30
  staleness_action: error
steps:
- name: read
  type: standard
  handler: {callable: Imports::Read, initialization: {}}
  publishes_events: []
  retry: {max_attempts: 0, backoff: exponential, backoff_base_ms: 1000}
"""


def test_templates_of_tasker_core_load_with_unused_keys() -> None:
    """Empty event lists are ignored; limits of the staleness detection go to the metadata."""
    template = parse_template(CORE_APPLICATION)

    assert template.deadline == timedelta(hours=1)
    assert template.steps[0].retry.max_attempts == 1
    assert template.metadata == {
        "task_handler": {"callable": "Imports::TaskHandler", "initialization": {"queue": "bulk"}},
        "identity_strategy": "caller_provided",
        "domain_events": [],
        "lifecycle": {"max_waiting_for_retry_minutes": 30, "staleness_action": "error"},
    }
    assert template_from_document(template_to_document(template)) == template


def test_a_batch_worker_is_a_map_over_the_batches_of_the_step_before_it() -> None:
    template = parse_template(
        "name: a\nsteps:\n- {name: split, type: batchable, handler: s}\n"
        "- name: work\n  type: batch_worker\n  dependencies: [split]\n"
        "  handler: {callable: w, initialization: {x: 1}, resolver: explicit_mapping}\n"
        "  batch_config: {batch_size: 9, parallelism: 4, cursor_field: row}\n"
        "- {name: sum, type: deferred_convergence, dependencies: [work]}\n"
    )

    split, work, total = template.steps
    assert split.spawning is None
    assert work.spawning == Map(
        over='results["split"].batch_processing_outcome.cursor_configs',
        item="batch",
        max_concurrency=4,
    )
    assert work.config == {
        "x": 1,
        "batch_metadata": {"cursor_field": "row", "failure_strategy": "continue_on_failure"},
    }
    assert total.trigger == "none_failed_min_one_success"


def test_a_step_requires_a_version_of_the_handler_and_labels_of_the_worker() -> None:
    """Version and labels form one canonical text, independent of notation."""
    template = parse_template(
        """
name: a
steps:
- name: b
  handler: {callable: X, version: ">= 2.1, < 3"}
  requires: {zone: eu, gpu: "true"}
  queue_timeout: 300
  heartbeat_timeout: 10
"""
    )
    spec = template.steps[0]

    assert str(spec.requirement) == ">=2.1,<3 gpu=true zone=eu"
    assert WorkerRequirement.parse(str(spec.requirement)) == spec.requirement
    assert (spec.queue_timeout, spec.heartbeat_timeout) == (
        timedelta(minutes=5),
        timedelta(seconds=10),
    )


@pytest.mark.parametrize("text", ["", "2.1.0", "^2,<2.5", "gpu=true", "=2.0.0 a=1 b=2"])
def test_a_requirement_is_read_from_its_text(text: str) -> None:
    assert text == str(WorkerRequirement.parse(text))


def test_a_template_may_have_a_title_attributes_a_priority_and_a_retention() -> None:
    template = parse_template(
        """
name: a
title: "Refund {input.ticket.id}"
attributes: {order_id: input.order_id}
retention: 2592000
priority: 4
steps: [{name: b}]
"""
    )

    assert template.title == "Refund {input.ticket.id}"
    assert template.attributes == {"order_id": "input.order_id"}
    assert template.retention == timedelta(days=30)
    assert template.priority == 4


def test_durations_are_seconds_or_text_with_units() -> None:
    template = parse_template(
        """
name: a
deadline_seconds: 1d12h
retention: 30d
steps:
- {name: b, timeout_seconds: "90", queue_timeout: 1h30m, heartbeat_timeout: 500ms}
- {name: c, retry: {backoff_base_ms: 2s, max_delay: 5m}}
"""
    )

    first, second = template.steps
    assert timedelta(hours=36) == template.deadline
    assert timedelta(days=30) == template.retention
    assert timedelta(seconds=90) == first.timeout
    assert timedelta(minutes=90) == first.queue_timeout
    assert timedelta(seconds=0.5) == first.heartbeat_timeout
    assert timedelta(seconds=2) == second.retry.initial_delay
    assert timedelta(minutes=5) == second.retry.max_delay


def test_a_template_or_a_step_may_have_limits() -> None:
    """Those of a step replace those of its template."""
    template = parse_template(
        """
name: a
limits:
  - {key: "customer:{input.customer_id}", concurrency: 5}
  - {key: stripe, rate: 100/s, burst: 200}
steps:
  - name: b
  - {name: c, limits: []}
  - {name: d, limits: [{key: "shared:bank", rate: 5/min}]}
"""
    )

    first, second, third = (template.limits_of_step(spec) for spec in template.steps)
    assert (
        Limit("customer:{input.customer_id}", concurrency=5),
        Limit("stripe", rate="100/s", burst=200),
    ) == first
    assert () == second
    assert (Limit("shared:bank", rate="5/m"),) == third
    assert template == template_from_document(template_to_document(template))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[{concurrency: 5}]", "'key' is missing"),
        ("[{key: a, concurrency: 0}]", "must be an integer from 1 to 1,000,000, found 0"),
        ("[{key: a, rate: fast}]", 'must be a rate such as "100/s"'),
        ("[{key: a, rate: 5}]", 'must be a rate such as "100/s", "5/m", "1000/h" or "10/d", found'),
        ("[{key: a, burst: 5}]", "'burst' needs a 'rate'"),
        ("[{key: 'a*'}]", "a key must not contain '*'"),
        ("[{key: '{inputs.a}'}]", "inputs"),
        ("[{key: a}, {key: a}]", "both limits have the key 'a'"),
        ("[{key: a}, {key: b}, {key: c}]", "at most 2 limits, found 3"),
        ("[{key: a, limit: 5}]", "unknown key 'limit' in a limit"),
    ],
)
def test_impossible_limits_are_refused(written: str, message: str) -> None:
    with pytest.raises(InvalidTemplate) as refused:
        parse_template(f"name: a\nlimits: {written}\nsteps: [{{name: b}}]")

    assert message in str(refused.value)
