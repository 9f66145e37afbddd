"""`tasker check`"""

import signal
from pathlib import Path

import pytest
from tests.cli.conftest import Here, Project
from tests.cli.test_server import url_of

CHECK = ("check", "--templates", "sell.yaml", "--handlers", "shop.py")


def test_matching_handlers_exit_with_0(tasker: Here) -> None:
    assert (0, "1 template, 4 handlers: no problems\n", "") == tasker(*CHECK)


def test_mismatched_handlers_are_reported_with_their_position_and_exit_with_1(tasker: Here) -> None:
    source = (tasker.project.root / "shop.py").read_text()
    source = source.replace("def pack(reserve: dict)", "def pack(ship: dict)")
    line = source.splitlines().index("def pack(ship: dict) -> str:")
    tasker.project.write("shop.py", source.replace("def charge(", "def chrge("))

    ran = tasker(*CHECK)
    checked = tasker(*CHECK, "--json").document

    assert 1 == ran.code
    assert "step 'charge': handler 'charge' (namespace shop) not found; did you mean" in ran.out
    assert f"shop.py:{line}: step 'pack'" in ran.out
    assert "2 problems" in ran.out
    assert not checked["ok"]
    assert ["shop.sell@1.0.0"] * 2 == [problem["template"] for problem in checked["problems"]]
    assert [None, line] == [problem["line"] for problem in checked["problems"]]


def test_steps_of_handlers_that_other_workers_serve_need_none(tasker: Here) -> None:
    source = (tasker.project.root / "shop.py").read_text()
    tasker.project.write("shop.py", source.replace("def charge(", "def chrge("))

    unserved, other = tasker(*CHECK), tasker(*CHECK, "--served-elsewhere", "pack")
    named, matched = [
        tasker(*CHECK, "--served-elsewhere", handler) for handler in ("charge", "ch*")
    ]

    assert [1, 1, 0, 0] == [ran.code for ran in (unserved, other, named, matched)]


def test_plain_functions_count_if_steps_call_them(tasker: Here) -> None:
    """Others may be helpers."""
    tasker.project.write(
        "plain.yaml", "name: plain\nnamespace_name: n\nversion: 1.0.0\nsteps: [{name: store}]\n"
    )
    tasker.project.write("plain.py", "def store(): ...\n\ndef helper(): ...\n")

    ran = tasker("check", "-T", "plain.yaml", "-H", "plain.py", "--strict")

    assert "1 template, 1 handler: no problems" in ran.out
    assert 0 == ran.code


def test_unused_handlers_are_warnings_unless_strict(tasker: Here) -> None:
    tasker.project.write("more.py", "from tasker import handler\n\n@handler\ndef lonely(): ...\n")
    flags = ("--handlers", "more.py")

    ran, strict = tasker(*CHECK, *flags), tasker(*CHECK, *flags, "--strict")

    assert 0 == ran.code
    assert "warning: more.py:3: no step uses the handler 'lonely'" in ran.out
    assert 1 == strict.code


def test_files_that_cannot_be_read_are_problems(tasker: Here) -> None:
    tasker.project.write("bad.yaml", "name: x\nsteps: [\n")
    tasker.project.write("bad.py", "def (:\n")

    checked = tasker("check", "-T", "bad.yaml", "-H", "bad.py", "--json")

    assert 1 == checked.code
    messages = [problem["message"] for problem in checked.document["problems"]]
    assert 2 == len(messages)
    assert "bad.yaml" == Path(checked.document["problems"][0]["file"]).name
    assert "bad.py:1" in messages[1]


def test_templates_can_be_checked_alone(tasker: Here) -> None:
    assert 0 == tasker("check", "-T", ".").code


@pytest.mark.parametrize("arguments", [(), ("--strict",)])
def test_a_check_without_files_is_refused(tasker: Here, arguments: tuple[str, ...]) -> None:
    assert 2 == tasker("check", *arguments).code


TYPO = """
    from tasker import handler


    @handler
    def reserve(sku: str) -> dict:
        return {}


    @handler
    def pack(reserv: dict) -> str:
        return "parcel"
"""
TWO_STEPS = """
    name: sell
    namespace_name: shop
    version: 1.0.0
    steps:
      - name: reserve
      - name: pack
        dependencies: [reserve]
"""


def test_a_parameter_named_almost_like_a_step_is_reported(tasker: Here) -> None:
    tasker.project.write("typo.py", TYPO)
    tasker.project.write("two.yaml", TWO_STEPS)
    checked = tasker("check", "-T", "two.yaml", "-H", "typo.py")
    ran = tasker("run", "two.yaml", "-H", "typo.py", "-c", '{"sku": "mug", "reserv": {}}')

    warning = "parameter 'reserv' is treated as an input of the task; did you mean step 'reserve'?"
    assert (0, 0) == (checked.code, ran.code)
    assert warning in checked.out
    assert warning in ran.err


SHIP = """
from tasker import Workflow

ship = Workflow("up.ship", version="{version}"{serves})

@ship.step
def pack({parameters}) -> str:
    return "{version}"
"""


def test_a_deploy_is_checked_against_open_tasks_and_registered_templates(tasker: Here) -> None:
    def write(file: str, version: str, parameters: str = "", serves: str = "") -> None:
        text = SHIP.format(version=version, parameters=parameters, serves=serves)
        tasker.project.write(file, text)

    write("ship1.py", "1.0.0")
    assert 0 == tasker("template", "register", "--handlers", "ship1.py").code
    assert 0 == tasker("task", "create", "up.ship@1.0.0").code
    deploy = ("check", "--store", "sqlite", "-H")

    same = tasker(*deploy, "ship1.py")
    write("ship2.py", "2.0.0")
    lacking = tasker(*deploy, "ship2.py")
    write("ship3.py", "2.0.0", serves=', serves="^1"')
    serving = tasker(*deploy, "ship3.py")
    tasker.project.write(
        "ship5.py",
        SHIP.format(version="1.0.0", parameters="", serves="") + "\n"
        "@ship.step\ndef send(pack: str) -> None: ...\n",
    )
    differing = tasker(*deploy, "ship5.py")

    assert (0, 1, 0, 1) == (same.code, lacking.code, serving.code, differing.code)
    assert (
        "step 'pack': no registered version of handler 'up.ship.pack' satisfies 1.0.0"
        in lacking.out
    )
    assert "up.ship@1.0.0 has 1 open task but is not among the given templates" in serving.out
    assert "the template differs from the registered one: give it a new version" in differing.out


def test_a_deploy_is_checked_against_a_server(tasker: Here, project: Project) -> None:
    """Output and exit codes are the same as with its store."""

    def write(file: str, version: str, serves: str = "") -> None:
        project.write(file, SHIP.format(version=version, parameters="", serves=serves))

    write("ship1.py", "1.0.0")
    write("ship2.py", "2.0.0")
    write("ship3.py", "2.0.0", serves=', serves="^1"')
    assert 0 == tasker("template", "register", "--handlers", "ship1.py").code
    assert 0 == tasker("task", "create", "up.ship@1.0.0").code
    with project.starting("server", "--port", "0") as server:
        deploy = ("check", "--server", url_of(server), "-H")
        same, lacking, serving = (
            tasker(*deploy, f"ship{number}.py", "--json") for number in (1, 2, 3)
        )
        server.send(signal.SIGTERM)
        server.end()
    unreachable = tasker("check", "--server", "http://127.0.0.1:9", "-H", "ship1.py")

    assert (0, 1, 0, 3) == (same.code, lacking.code, serving.code, unreachable.code)
    [problem] = lacking.document["problems"]
    assert "up.ship@1.0.0" == problem["template"]
    assert (
        "1 open task: step 'pack': no registered version of handler 'up.ship.pack' satisfies 1.0.0"
        in problem["message"]
    )
    [warning] = serving.document["warnings"]
    assert (
        "up.ship@1.0.0 has 1 open task but is not among the given templates" in (warning["message"])
    )


BRANCHES = """
name: branches
input_schema: {type: object, properties: {cents: {type: integer}}}
steps:
  - {name: quote, allow_failure: true}
  - {name: route, type: decision, dependencies: [quote]}
  - name: dear
    dependencies: [route]
    when: input.cents > "500" and results.quote.total > 3
  - name: cheap
    dependencies: [route]
    when: input.cent > 3 and results.route.chosn == []
  - {name: never, dependencies: [route], when: 1 > 2}
  - {name: follow, dependencies: [first, never], map: {over: "[1, 2]"}}
  - {name: gather, dependencies: [follow]}
  - {name: either, dependencies: [first, gather], trigger: one_success}
  - {name: lone, dependencies: [quote], trigger: all_skipped}
  - {name: end, dependencies: [dear, cheap], trigger: none_failed}
  - {name: first}
  - {name: maybe, dependencies: [first], when: input.cents > 3}
  - {name: after, dependencies: [maybe], trigger: none_failed}
"""
BRANCH_HANDLERS = """
from tasker import Decision, handler
@handler
def quote() -> dict[str, int]: ...
@handler
def route(quote: dict[str, int]) -> Decision: ...
@handler
def dear(quote: dict[str, int] | None, route: Decision) -> int: ...
@handler
def cheap(quote: dict[str, int] = {}) -> int: ...
@handler
def never(): ...
@handler
def lone(): ...
@handler
def follow(): ...
@handler
def gather(): ...
@handler
def either(): ...
@handler
def end(dear: int, cheap: int | None): ...
@handler
def first() -> int: ...
@handler
def maybe(): ...
@handler
def after(first: int): ...  # is there: `maybe` runs or is skipped after it
"""


def test_conditions_are_checked_against_schemas_and_types(tasker: Here) -> None:
    """Steps that never run and parameters that cannot be None are reported."""
    tasker.project.write("branches.yaml", BRANCHES)
    tasker.project.write("branches.py", BRANCH_HANDLERS)

    checked = tasker("check", "-T", "branches.yaml", "-H", "branches.py", "--json").document

    absent = "may be skipped or fail before this step runs: add '| None' to the type, or a default"
    assert [
        "step 'dear': when: input.cents > \"500\" compares a number with a string; only two "
        "numbers or two strings can be ordered",
        "step 'cheap': when: input has no property 'cent'; did you mean 'cents'? Allowed: cents",
        "step 'cheap': when: results.route has no property 'chosn'; did you mean 'chosen'?"
        " Allowed: chosen, reason, data",
        "step 'never': it never runs: its condition is always false",
        "step 'follow': it never runs: step 'never', which it depends on, never runs",
        "step 'gather': it never runs: step 'follow', which it depends on, never runs",
        "step 'lone': it never runs: its trigger is all_skipped, but step 'quote' is never skipped",
        f"step 'route': parameter 'quote': step 'quote' {absent}",
        f"step 'end': parameter 'dear': step 'dear' {absent}",
    ] == [problem["message"] for problem in checked["problems"]]


UNDO = """
name: order
version: 1.0.0
input_schema: {type: object, properties: {lines: {type: array}}}
steps:
  - {name: reserve, map: {over: input.lines}, compensate: release}
  - {name: pay, dependencies: [reserve], compensate: refund}
"""
UNDO_HANDLERS = """
from tasker import handler
@handler
def reserve() -> int: ...
@handler
def release(reserve: int): ...
@handler
def pay() -> int: ...
@handler
def refund(pay: str): ...
"""


def test_compensating_handlers_are_checked(tasker: Here) -> None:
    """Those of instances get the result of one instance."""
    tasker.project.write("order.yaml", UNDO)
    tasker.project.write("orders.py", UNDO_HANDLERS)

    checked = tasker("check", "-T", "order.yaml", "-H", "orders.py", "--json").document

    (problem,) = checked["problems"]
    assert "steps[1].compensate" == problem["path"]
    assert (
        "step 'pay.compensation': parameter 'pay': its type does not match the return type of step"
        " 'pay': $ is integer, not string"
    ) == problem["message"]


TYPES = """
name: order
version: 1.0.0
title: "Order {input.order}"
limits: [{key: "lines:{input.lines}", concurrency: 5}]
input_schema:
  type: object
  required: [order_id, lines, at]
  properties:
    order_id: {type: string}
    at: {type: string}
    lines:
      type: array
      items: {$ref: "#/$defs/line"}
  $defs:
    line: {type: object, properties: {sku: {type: string}, due: {type: integer}}}
schedules:
  - {name: nightly, cron: "0 2 * * *", context: {order_id: "{tick.date}", at: x, lines: none}}
steps:
  - name: price
    result_schema: {type: object, properties: {cents: {type: integer}}}
    limits: [{key: "at:{input.att}", concurrency: 1}]
    events:
      - {name: priced, payload: {cents: result.euros}}
      - name: failed
        on: failure
        payload: {why: error.text, code: error.message}
        schema: {type: object, required: [order], properties: {code: {type: integer}}}
  - name: over_no_list
    dependencies: [price]
    map: {over: results.price.cents, as: line}
  - name: parcels
    map: {over: input.lines, as: line, task: {template: a.b, context: {sku: "{line.skuu}"}}}
  - name: lines
    dependencies: [price]
    map: {over: input.lines, as: line}
    steps:
      - {name: until, wait: {until: line.due}}
      - {name: paid, wait: {signal: paid, key: input.lines}}
      - {name: reply, when: line.due == "today"}
  - name: approve
    approval: {assignees: ["user:{input.manager}"], form: {type: object, properties: {ok: {type: boolean}}}}
  - name: after
    dependencies: [approve, lines]
    when: results.approve.form.okay and results.lines.count > "1"
  - name: loop
    dependencies: [price]
    repeat: {until: results.look.done and iteration == "3", max: 3}
    steps:
      - {name: look, result_schema: {type: object, properties: {ready: {type: boolean}}}}
"""  # noqa: E501 - a template


def test_all_expressions_are_checked_against_schemas(tasker: Here) -> None:
    """Those of limits, schedules, events, instances, waits, approvals and tasks too."""
    tasker.project.write("order.yaml", TYPES)

    checked = tasker("check", "-T", "order.yaml", "--json").document

    inputs = "Allowed: order_id, at, lines"
    assert [
        "limit 'lines:{input.lines}': it is a list, not a string, a number or a boolean",
        f"title: input has no property 'order'; did you mean 'order_id'? {inputs}",
        'the context of schedule \'nightly\': $.lines: "none" is not of type "array"',
        "step 'price': limit 'at:{input.att}': input has no property 'att'; did you mean 'at'?"
        f" {inputs}",
        "step 'price': event 'priced': payload 'cents': result has no property 'euros';"
        " allowed: cents",
        "step 'price': event 'failed': the payload lacks 'order', which its schema requires",
        "step 'price': event 'failed': payload 'why': error has no property 'text';"
        " allowed: type, message, code, retryable, details",
        "step 'price': event 'failed': payload 'code': it is a string, not what its schema allows",
        "step 'over_no_list': map: over: it is a number, not a list",
        "step 'parcels': task: line has no property 'skuu'; did you mean 'sku'? Allowed: sku, due",
        "step 'until': wait: until: it is a number, not an instant",
        "step 'paid': wait: key: it is a list, not a string or a number",
        "step 'reply': when: line.due == \"today\" is always false, because it compares"
        " a number with a string",
        "step 'approve': approval: assignee 'user:{input.manager}': input has no property"
        " 'manager'; allowed: order_id, at, lines",
        "step 'after': when: results.approve.form has no property 'okay'; did you mean 'ok'?"
        " Allowed: ok",
        "step 'after': when: results.lines.count > \"1\" compares a number with a string;"
        " only two numbers or two strings can be ordered",
        "step 'loop': repeat: until: results.look has no property 'done'; allowed: ready",
        "step 'loop': repeat: until: iteration == \"3\" is always false, because it compares"
        " a number with a string",
    ] == [problem["message"] for problem in checked["problems"]]
    assert "steps[3].steps[1]" == checked["problems"][11]["path"]
