"""Which handler a name means."""

import functools
import types
from pathlib import Path
from typing import Any

import pytest
from tests.handlers.attempts import attempt
from tests.handlers.conftest import Write

from tasker.errors import HandlerImportError, Misuse
from tasker.graph import Graph
from tasker.handlers import Context, Handlers, StepHandler, handler
from tasker.model import StepSpec, Template


@handler("Payments::Charge")
def charge(cents: int) -> int:
    """Charge the customer.

    At length.
    """
    return cents


def plain() -> None: ...


class Refund(StepHandler):
    handler_name = "Payments::Refund"

    def call(self, context: Context) -> Any: ...


FLOW = """
    from tasker import Workflow

    flow = Workflow("shop.sell", version="1.0.0")

    @flow.step
    def pay(cents: int) -> int: return cents
"""

THIS = "tests/handlers/test_registry.py"

TEAM = """
    from tasker.handlers import handler, StepHandler

    @handler("Team::Reserve")
    def reserve(sku: str): return sku

    def pick(): return "picked"

    def _private(): ...

    class Ship(StepHandler):
        def call(self, context): return "shipped"

    class Duck:
        def call(self, context): return "quack"

    class Data:
        pass

    from os import system, path as pick_path
    limit = 7
"""


def find_target(handlers: Handlers, name: str, namespace: str | None = None) -> Any:
    it = handlers.find_handler(name, namespace)
    return it and it.target


# ------------------------------------------------------------------------------- sources


def test_functions_and_classes_provide_handlers() -> None:
    handlers = Handlers.collect(charge, plain, Refund)
    assert ("Payments.Charge", "Payments.Refund", "plain") == handlers.registered_names()
    assert charge is find_target(handlers, "Payments::Charge")
    assert charge is find_target(handlers, "Payments.Charge")
    assert Refund is find_target(handlers, "::Payments::Refund")
    assert plain is find_target(handlers, "plain")


def test_mappings_workflows_and_other_handlers_provide_handlers() -> None:
    class Workflow:
        def __init__(self) -> None:
            self.functions = {"A::B": plain}

    instance, partial = Refund(), functools.partial(charge, 1)
    first = Handlers.collect({"one": instance, "two": partial})
    handlers = Handlers.collect(first, Workflow(), plain)
    assert ("A.B", "one", "plain", "two") == handlers.registered_names()
    assert instance is find_target(handlers, "one")
    assert plain is find_target(handlers, "A::B")
    assert ["object", "function"] == [handlers_kind(handlers, name) for name in ("one", "two")]


def test_a_module_provides_its_workflows_with_their_templates(write: Write) -> None:
    flows = write("one/flows.py", FLOW)
    shop = write("two/shop.py", "from flows import flow\nagain = flow\n")
    handlers = Handlers.collect(flows, shop)

    assert ("shop.sell.pay",) == handlers.registered_names()
    assert ["shop.sell@1.0.0"] == [template.full_name for template in handlers.templates()]
    assert handlers.templates() == Handlers.collect(handlers, flows).templates()


def handlers_kind(handlers: Handlers, name: str) -> str:
    it = handlers.find_handler(name)
    assert it is not None
    return it.kind


def test_a_module_can_be_given_as_object_name_file_or_directory(write: Write) -> None:
    file = write("team.py", TEAM)
    by_file = Handlers.collect(file)
    module = __import__("team")
    for source in (module, "team", str(file), file.parent, str(file.parent)):
        handlers = Handlers.collect(source)
        assert ("Ship", "Team.Reserve") == handlers.registered_names()
        assert module.reserve is find_target(handlers, "Team::Reserve")
    assert module.reserve is find_target(by_file, "Team::Reserve")


@pytest.mark.parametrize("source", [7, None, b"bytes", ["a"]])
def test_other_objects_are_refused(source: object) -> None:
    with pytest.raises(Misuse, match="contains no handlers"):
        Handlers.collect(source)


def test_objects_without_a_name_or_a_call_are_refused() -> None:
    with pytest.raises(Misuse, match="has no name;"):
        Handlers.collect(lambda: None)
    with pytest.raises(Misuse, match="'a' cannot be a handler"):
        Handlers.collect({"a": 7})
    with pytest.raises(Misuse, match="cannot be the name"):
        Handlers.collect({"::": plain})


# ------------------------------------------------------------------------------- finding


def test_undecorated_functions_and_classes_are_found_by_path_and_by_bare_name(
    write: Write,
) -> None:
    handlers = Handlers.collect(write("team.py", TEAM))
    module = __import__("team")
    for name in ("pick", "team.pick", "team::pick"):
        assert module.pick is find_target(handlers, name)
    assert module.Duck is find_target(handlers, "Duck")
    assert module.Ship is find_target(handlers, "team.Ship")
    assert module.reserve is find_target(handlers, "reserve")


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "system",
        "team.system",
        "team.os.system",
        "pick_path",
        "_private",
        "team._private",
        "team.Data",
        "team.limit",
        "team.Ship.call",
        "team",
        "team.",
        "",
        "builtins.eval",
        "subprocess.run",
        "tasker.handlers.handler",
        "handler",
        "StepHandler",
    ],
)
def test_a_name_finds_only_handlers_that_were_given(write: Write, name: str) -> None:
    assert Handlers.collect(write("team.py", TEAM)).find_handler(name) is None


def test_looking_up_a_name_imports_nothing(write: Write) -> None:
    handlers = Handlers.collect(write("team.py", TEAM))
    write("other.py", "raise AssertionError('imported')")
    assert handlers.find_handler("other.anything") is None


def test_the_handler_of_the_namespace_is_preferred() -> None:
    handlers = Handlers.collect({"validate": plain, "payments.validate": charge})
    assert charge is find_target(handlers, "validate", "payments")
    assert plain is find_target(handlers, "validate", "customer_success")
    assert plain is find_target(handlers, "validate")


def test_an_ambiguous_bare_name_finds_no_handler_and_the_error_lists_the_matches(
    write: Write,
) -> None:
    write("team/a.py", "def validate(): ...")
    write("team/b.py", "def validate(): ...")
    handlers = Handlers.collect(write("team/__init__.py").parent)
    assert handlers.find_handler("validate") is None
    assert (
        "handler 'validate' is ambiguous: team.a.validate and team.b.validate match; use the"
        " dotted path,"
        ' or register one with @handler("validate")'
    ) == str(handlers.not_found_error("validate"))
    assert handlers.find_handler("team.b.validate") is not None


def test_an_unknown_name_is_reported_with_a_suggestion() -> None:
    handlers = Handlers.collect(charge)
    assert (
        "handler 'Payments.Chrge' (namespace payments) not found; did you mean 'Payments.Charge'?"
    ) == str(handlers.not_found_error("Payments::Chrge", "payments"))
    assert "handler 'x' not found; registered: Payments.Charge" == str(
        handlers.not_found_error("x")
    )
    assert str(Handlers.collect().not_found_error("x")).endswith("; registered: none")
    many = Handlers.collect(dict.fromkeys("abcdefg", plain))
    assert str(many.not_found_error("x")).endswith("; registered: a, b, c, d, e, ...")


def test_a_name_for_two_handlers_is_refused_with_both_positions() -> None:
    def other() -> None: ...

    line = other.__code__.co_firstlineno
    with pytest.raises(HandlerImportError) as caught:
        Handlers.collect({"a": plain}, {"a": other})
    assert (
        f"two handlers are named 'a': at {THIS}:{plain.__code__.co_firstlineno} and at"
        f' {THIS}:{line}; rename one of them with @handler("...")'
    ) == str(caught.value)


def test_giving_the_same_handler_twice_is_no_conflict() -> None:
    assert 1 == len(Handlers.collect(plain, plain, {"plain": plain}, Handlers.collect(plain)))


# ------------------------------------------------------------------------------- listing


def test_handlers_describe_themselves() -> None:
    charges, refunds = Handlers.collect(charge, Refund)
    assert ("Payments.Charge", "function", "Charge the customer.", False) == (
        charges.name,
        charges.kind,
        charges.summary,
        charges.process,
    )
    assert f"{THIS}:{charge.__code__.co_firstlineno}" == charges.location
    assert Path(__file__) == refunds.file
    assert ("class", False) == (refunds.kind, refunds.is_async())
    assert "Payments::Charge" in Handlers.collect(charge)
    assert "<Handlers Payments.Charge>" == repr(Handlers.collect(charge))


def test_handlers_made_at_run_time_are_described_by_their_module() -> None:
    made: dict[str, Any] = {"__name__": "made"}
    exec("def f(): ...", made)
    it = Handlers.collect({"f": made["f"]}).find_handler("f")
    assert it is not None
    assert it.location in ("made", "<string>:1")
    builtin = Handlers.collect({"len": len}).find_handler("len")
    assert builtin is not None
    assert "builtins" == builtin.location


# --------------------------------------------------------------------------------- plans


def test_a_step_is_planned_with_its_ancestors() -> None:
    template = Template(
        namespace="payments",
        name="t",
        version="1.0.0",
        steps=(
            StepSpec(name="first", callable="nobody"),
            StepSpec(name="cents", callable="nobody"),
            StepSpec(
                name="charge", callable="Payments.Charge", dependencies=("cents",), config={"a": 1}
            ),
        ),
    )
    graph = Graph(template)
    handlers = Handlers.collect(charge)
    assert handlers.compile_call_plan(template, graph, template.steps[0]) is None
    compiled = handlers.compile_call_plan(template, graph, template.steps[2])
    assert compiled is not None
    assert 0b100 == compiled.needs
    assert 7 == compiled.call(attempt(results={2: 7}))
    assert "<Plan payments.t@1.0.0 charge: Payments.Charge>" == repr(compiled)


def test_modules_made_at_run_time_provide_handlers() -> None:
    module = types.ModuleType("by_hand")
    module.__dict__["charge"] = charge
    with pytest.raises(HandlerImportError, match="module 'by_hand' not found"):
        Handlers.collect(module)
