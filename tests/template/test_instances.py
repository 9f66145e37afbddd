"""Reading `map`, `batch` and `repeat`."""

from datetime import timedelta

import pytest

from tasker.errors import InvalidTemplate
from tasker.graph import Graph
from tasker.model import (
    Batch,
    CollectMode,
    InstanceFailureHandling,
    InstanceFailurePolicy,
    Map,
    Repeat,
    StepSpec,
    Template,
)
from tasker.template.document import template_to_document
from tasker.template.load import parse_template, template_from_document
from tasker.template.stored import template_from_stored_document
from tasker.workflow import StepBuilder, Workflow

WHOLE = """
name: report
steps:
  - name: list_files
  - name: convert
    dependencies: [list_files]
    map: {over: results.list_files.files, as: file}
    on_failure: {policy: continue, max_failures: "5%"}
    retry: {max_attempts: 5}
    collect: none
  - name: import_rows
    dependencies: [convert]
    batch: {total: results.convert.count, size: 1000, max_instances: 50}
    on_failure: fail_fast
  - name: per_customer
    dependencies: [import_rows]
    map:
      over: input.customers
      as: customer
    collect: {reduce: summarize}
    steps:
      - name: fetch
      - name: bill
        dependencies: [fetch]
        map: {over: customer.lines}
      - name: poll
        dependencies: [bill]
        repeat: {until: results.state.done and iteration > 1, every: 30s, max: 100}
        steps:
          - name: state
"""


def steps(*lines: str) -> str:
    """Return a template with a step `list`, and one with these lines."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"name: t\nsteps:\n  - name: list\n  - name: work\n    dependencies: [list]\n{body}\n"


def test_steps_with_instances_are_read() -> None:
    """With their bodies, failure policies and collections."""
    _, convert, rows, customers = parse_template(WHOLE).steps

    assert Map(over="results.list_files.files", item="file") == convert.spawning
    assert (CollectMode.NONE, 5) == (convert.collect, convert.retry.max_attempts)
    assert InstanceFailurePolicy.CONTINUE == convert.on_failure.policy
    assert 5.0 == convert.on_failure.max_failed_percent
    assert Batch(total="results.convert.count", size=1000, max_instances=50) == rows.spawning
    assert InstanceFailureHandling(policy=InstanceFailurePolicy.FAIL_FAST) == rows.on_failure
    fetch, bill, poll = customers.steps
    assert ("summarize", "fetch") == (customers.reduce, fetch.name)
    assert Map(over="customer.lines") == bill.spawning
    until = "results.state.done and iteration > 1"
    assert Repeat(until=until, every=timedelta(seconds=30), max=100) == poll.spawning
    assert ("state",) == tuple(step.name for step in poll.steps)


def test_a_template_with_instances_can_be_restored_from_its_document() -> None:
    """Both when it is checked and when it comes from a store."""
    template = parse_template(WHOLE)

    assert template == template_from_document(template_to_document(template))
    assert template == template_from_stored_document(template_to_document(template))


def test_a_map_may_run_a_task_for_each_element() -> None:
    """Written in the map or beside it; the task reads the element."""
    task = "{template: shop.parcel, context: {sku: '{line.sku}'}}"
    within = parse_template(steps(f"map: {{over: results.list, as: line, task: {task}}}"))
    beside = parse_template(steps("map: {over: results.list, as: line}", f"task: {task}"))
    flow = Workflow("default.t")
    flow.add("list")
    flow.map_task("work", "shop.parcel", {"sku": "{line.sku}"}, over="results.list", item="line")

    assert (
        within
        == beside
        == flow.template
        == template_from_stored_document(template_to_document(within))
    )
    assert ["list", "work.map", "work", "work[]"] == [spec.name for spec in Graph(within).specs]


def test_nodes_are_numbered_by_body() -> None:
    """The spawner and the join stand where the step stands; labels name the instances."""
    graph = Graph(parse_template(WHOLE))
    labels = [graph.layout.step_name_pattern(no) for no in range(1, len(graph.specs) + 1)]

    assert [
        *("list_files", "convert.map", "convert", "import_rows.batch", "import_rows"),
        *("per_customer.map", "per_customer.join", "per_customer", "convert[]", "import_rows[]"),
        *("per_customer[].fetch", "per_customer[].bill.map", "per_customer[].bill"),
        *("per_customer[].poll.repeat", "per_customer[].poll", "per_customer[].bill[]"),
        *("per_customer[].poll[].state", "per_customer[].poll[].until"),
    ] == labels


def test_an_environment_may_override_steps_of_bodies() -> None:
    """Steps of a body are overridden by name."""
    text = f"""{WHOLE}
environments:
  test:
    steps:
      - {{name: convert, retry: {{max_attempts: 1}}}}
      - {{name: fetch, timeout_seconds: 5}}
"""
    template = parse_template(text).for_environment("test")

    graph = Graph(template)
    specs = {spec.name: spec for spec in graph.specs}
    assert 1 == specs["convert[]"].retry.max_attempts
    assert timedelta(seconds=5) == specs["fetch"].timeout


@pytest.mark.parametrize(
    ("lines", "path", "message"),
    [
        (["map: {as: file}"], "steps[1].map", "'over' is missing: an expression for the list"),
        (["map: {over: results.lst}"], "steps[1].map.over", "did you mean 'list'?"),
        (["map: {over: results.work}"], "steps[1].map.over", "not an earlier step"),
        (["map: {over: results.list +}"], "steps[1].map.over", "invalid expression"),
        (["map: {over: file}"], "steps[1].map.over", "unknown name 'file'"),
        (
            ["map: {over: input.x, as: results}"],
            "steps[1].map.as",
            "already has a meaning in expressions",
        ),
        (["map: {over: input.x, as: 'a b'}"], "steps[1].map.as", "is not a valid name"),
        (["map: {over: input.x, in: y}"], "steps[1].map.in", "unknown key 'in' in a map"),
        (["map: {over: input.x}", "batch: {total: 5, size: 1}"], "steps[1].batch", "only one of"),
        (["collect: none"], "steps[1].collect", "needs 'map', 'batch' or 'repeat'"),
        (["steps: [{name: a}]"], "steps[1].steps", "needs 'map', 'batch' or 'repeat'"),
        (["map: {over: input.x}", "steps: []"], "steps[1].steps", "at least one step"),
        (
            ["map: {over: input.x}", "handler: x", "steps: [{name: a}]"],
            "steps[1].handler",
            "belongs to a step of the body",
        ),
        (
            ["map: {over: input.x}", "steps: [{name: list}]"],
            "steps[1].steps[0].name",
            "the step 'list' is duplicated",
        ),
        (
            ["map: {over: input.x}", "steps: [{name: a, dependencies: [list]}]"],
            "steps[1].steps[0].dependencies[0]",
            "make 'work' depend on 'list'",
        ),
        (["batch: {total: 5}"], "steps[1].batch", "'size' is missing"),
        (["batch: {total: 5, size: 0}"], "steps[1].batch.size", "an integer from 1"),
        (["repeat: {until: input.x}"], "steps[1].repeat", "'max' is missing"),
        (["repeat: {until: input.x, max: 0}"], "steps[1].repeat.max", "from 1 to 10,000"),
        (
            ["repeat: {until: input.x, max: 3}", "collect: none"],
            "steps[1].collect",
            "the result of its last iteration",
        ),
        (
            ["map: {over: input.x}", "on_failure: {max_failures: 3}"],
            "steps[1].on_failure.max_failures",
            "needs 'policy: continue'",
        ),
        (
            ["map: {over: input.x}", "on_failure: {policy: continue, max_failures: '101%'}"],
            "steps[1].on_failure.max_failures",
            "write a percentage such as '5%'",
        ),
        (["map: {over: input.x}", "on_failure: stop"], "steps[1].on_failure", "unknown value"),
        (["map: {over: input.x}", "collect: sum"], "steps[1].collect", "unknown value 'sum'"),
        (
            ["map: {over: input.x, task: {template: a.b}}", "handler: c"],
            "steps[1].map.task",
            "either a 'task' in its 'map' or 'handler'",
        ),
        (
            ["map: {over: input.x, max_concurrency: 2, task: {template: a.b}}"],
            "steps[1].map",
            "'max_concurrency' does not apply to a task",
        ),
        (
            ["map: {over: input.x}", "wait: {for: 1h}", "steps: [{name: a}]"],
            "steps[1].wait",
            "belongs to a step of the body",
        ),
        (
            ["map: {over: input.x, task: {template: a.b, context: {x: '{itm}'}}}"],
            "steps[1].map.task.context.x",
            "unknown name 'itm'",
        ),
    ],
)
def test_an_error_in_a_body_is_reported_with_its_position(
    lines: list[str], path: str, message: str
) -> None:
    """The message has the allowed values."""
    with pytest.raises(InvalidTemplate) as error:
        parse_template(steps(*lines))

    assert [(path, True)] == [
        (problem.path, message in problem.message) for problem in error.value.problems
    ]


def test_a_step_cannot_depend_on_the_step_of_a_body() -> None:
    """Only on the step that has the body."""
    text = steps("map: {over: input.x}", "steps: [{name: a}]") + (
        "  - {name: end, dependencies: [a]}\n"
    )

    with pytest.raises(InvalidTemplate, match="depend on the step that contains the body"):
        parse_template(text)


def test_bodies_may_be_nested_to_a_depth_of_five() -> None:
    def nested(depth: int) -> Template:
        step = StepSpec(name=f"s{depth}")
        for level in range(depth):
            step = StepSpec(name=f"m{level}", spawning=Map(over="input.x"), steps=(step,))
        template = Template(namespace="n", name="t", version="1.0.0", steps=(step,))
        return template_from_document(template_to_document(template))

    assert 11 == len(Graph(nested(5)).specs)
    with pytest.raises(InvalidTemplate, match="nested at most 5 levels deep"):
        nested(6)


def test_a_map_of_one_step_counts_towards_the_depth() -> None:
    def nested(depth: int) -> Template:
        step = StepSpec(name="innermost", spawning=Map(over="input.x"))
        for level in range(depth - 1):
            step = StepSpec(name=f"m{level}", spawning=Map(over="input.x"), steps=(step,))
        template = Template(namespace="n", name="t", version="1.0.0", steps=(step,))
        return template_from_document(template_to_document(template))

    assert 11 == len(Graph(nested(5)).specs)
    with pytest.raises(InvalidTemplate, match="nested at most 5 levels deep"):
        nested(6)


def test_workflows_are_nested_to_a_depth_of_five() -> None:
    """The sixth body is refused where it is declared."""
    steps: StepBuilder = Workflow("n.t")
    for level in range(5):
        steps = steps.map_body(f"m{level}", over="input.x")

    with pytest.raises(InvalidTemplate, match="nested at most 5 levels deep"):
        steps.map_body("m5", over="input.x")
