"""Which handler a name means in which namespace, at which version."""

from typing import Any

import pytest
from tests.handlers.conftest import Write

from tasker import Workflow
from tasker.errors import HandlerImportError, InvalidInput, Misuse
from tasker.handlers import Handlers, handler
from tasker.model import StepSpec, Template


def template(namespace: str, *callables: str, version: str = "") -> Template:
    """Make a template whose steps name `callables`."""
    steps = [
        StepSpec(name=f"s{no}", callable=name, handler_version=version)
        for no, name in enumerate(callables)
    ]
    return Template(namespace=namespace, name="t", version="1.0.0", steps=tuple(steps))


def versions_of(*registered: str, namespace: str = "") -> list[Any]:
    """Make handlers called `x` with these versions, each returning its own."""

    def made(version: str) -> Any:
        @handler("x", version=version, namespace=namespace)
        def code() -> str:
            return f"{namespace}{version}"

        return code

    return [made(version) for version in registered]


def result(handlers: Handlers, name: str, namespace: str, version: str = "") -> Any:
    """Return what the handler of that name returns; None if it is not found."""
    match = handlers.find_handler(name, namespace, version)
    return match and match.target()


# --------------------------------------------------------------------------- namespaces


def test_a_handler_is_bound_to_the_namespaces_whose_templates_name_it() -> None:
    handlers = Handlers.collect({"x": lambda: "x", "y": lambda: "y"})
    bound = handlers.bind_to_namespaces([template("a", "x"), template("b", "x")], ["c"])
    assert ["x", "x", None] == [result(bound, "x", namespace) for namespace in "abc"]
    assert [None, None, "y"] == [result(bound, "y", namespace) for namespace in "abc"]


def test_a_star_binds_other_handlers_to_all_namespaces() -> None:
    bound = Handlers.collect({"x": lambda: "x", "y": lambda: "y"}).bind_to_namespaces(
        [template("a", "x")], "*"
    )
    assert ["x", None] == [result(bound, "x", namespace) for namespace in "ab"]
    assert ["y", "y"] == [result(bound, "y", namespace) for namespace in "ab"]


def test_a_handler_with_a_namespace_is_bound_to_it_alone() -> None:
    (own,) = versions_of("1.0.0", namespace="a")
    bound = Handlers.collect(own).bind_to_namespaces([template("b", "x")], "*")
    assert ["a1.0.0", None] == [result(bound, "x", namespace) for namespace in "ab"]


def test_the_first_segment_of_a_name_binds_nothing() -> None:
    handlers = Handlers.collect({"Blog.Validate": lambda: "valid"})
    bound = handlers.bind_to_namespaces([template("posts", "Blog.Validate")], [])
    assert "valid" == result(bound, "Blog::Validate", "posts")
    assert result(bound, "Validate", "Blog") is None


def test_within_its_namespace_a_handler_is_found_with_and_without_the_prefix() -> None:
    bound = Handlers.collect({"a.x": lambda: "x"}).bind_to_namespaces([], "ab")
    assert ["x", "x"] == [result(bound, name, "a") for name in ("a.x", "x")]
    assert result(bound, "x", "b") is None


def test_undecorated_functions_are_bound_like_others(write: Write) -> None:
    handlers = Handlers.collect(write("team.py", "def pick(): return 'picked'"))
    bound = handlers.bind_to_namespaces([template("a", "pick")], [])
    assert ["picked", "picked"] == [result(bound, name, "a") for name in ("pick", "team.pick")]
    assert [None, None] == [result(bound, name, "b") for name in ("pick", "team.pick")]


def test_handlers_can_be_given_for_one_namespace(write: Write) -> None:
    file = write("pay.py", "def charge(): return 'charged'")
    handlers = Handlers.collect(f"payments={file}", f"refunds={file}")
    assert "charged" == result(handlers, "charge", "payments")
    assert "charged" == result(handlers, "pay.charge", "refunds")
    assert result(handlers, "charge", "other") is None


def test_all_versions_of_a_handler_are_bound_together() -> None:
    bound = Handlers.collect(*versions_of("1.0.0", "2.0.0")).bind_to_namespaces(
        [template("a", "x")], []
    )
    assert ["1.0.0", "2.0.0"] == [result(bound, "x", "a", pin) for pin in ("1.0.0", "2.0.0")]
    assert result(bound, "x", "b", "1.0.0") is None


def test_a_bare_name_is_searched_among_bound_handlers(write: Write) -> None:
    """
    A function of that name in another namespace's module makes it no less clear.
    """
    sources = [
        f"{name}={write(f'{name}_team.py', f'def pick(): return {name!r}')}" for name in "ab"
    ]
    handlers = Handlers.collect(*sources)
    assert ["a", "b"] == [result(handlers, "pick", name) for name in "ab"]


def test_unbound_handlers_are_listed() -> None:
    handlers = Handlers.collect({"x": lambda: "x", "y": lambda: "y"})
    assert ["y"] == [
        each.name
        for each in handlers.bind_to_namespaces([template("a", "x")], []).unbound_handlers()
    ]
    assert [False, True] == [
        handlers.bind_to_namespaces([], namespaces).are_all_unbound() for namespaces in (["a"], [])
    ]


def test_binding_again_replaces_the_bindings() -> None:
    bound = Handlers.collect({"x": lambda: "x"}).bind_to_namespaces([], ["a"])
    assert result(bound, "x", "b") is None
    assert "x" == result(bound.bind_to_namespaces([], ["b"]), "x", "b")


@pytest.mark.parametrize(
    ("name", "namespace", "version", "message"),
    [
        ("x", "b", "", "handler 'x' is not bound to namespace 'b', only to a"),
        (
            "x",
            "a",
            "^2",
            "no registered version of handler 'x' satisfies ^2; available here: 1.0.0",
        ),
    ],
)
def test_an_error_explains_why_a_handler_is_not_found(
    name: str, namespace: str, version: str, message: str
) -> None:
    bound = Handlers.collect(*versions_of("1.0.0")).bind_to_namespaces([], ["a"])
    assert bound.find_handler(name, namespace, version) is None
    assert message == str(bound.not_found_error(name, namespace, version))


@pytest.mark.parametrize(
    ("versions", "available"),
    [
        (["1.0.0", "2.0.0"], "1.0.0, 2.0.0"),
        ([""], "unversioned"),
        (["1.0.0", ""], "1.0.0, unversioned"),
    ],
)
def test_an_error_lists_the_available_versions(versions: list[str], available: str) -> None:
    handlers = Handlers.collect(*versions_of(*versions))
    assert handlers.find_handler("x", "a", "^3") is None
    assert f"no registered version of handler 'x' satisfies ^3; available here: {available}" == str(
        handlers.not_found_error("x", "a", "^3")
    )


# ----------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("required", "chosen"),
    [
        ("", "10.0.0"),
        ("2.1.0", "2.1.0"),
        ("^2", "2.9.0"),
        ("~2.1", "2.1.0"),
        (">=3,<4", None),
        ("2.5.0", None),
    ],
)
def test_the_exact_version_or_the_highest_in_the_range_is_chosen(
    required: str, chosen: str | None
) -> None:
    handlers = Handlers.collect(*versions_of("2.9.0", "10.0.0", "2.1.0", ""))
    assert chosen == result(handlers, "x", "a", required)


def test_a_handler_of_the_namespace_is_preferred_to_a_general_one() -> None:
    handlers = Handlers.collect(*versions_of("2.0.0"), *versions_of("1.0.0", namespace="a"))
    assert "a1.0.0" == result(handlers, "x", "a")
    assert "2.0.0" == result(handlers, "x", "a", "^2")
    assert "2.0.0" == result(handlers, "x", "b")


def test_a_name_version_and_namespace_has_one_handler() -> None:
    with pytest.raises(HandlerImportError, match="two handlers are named 'x' at version 1"):
        Handlers.collect(*versions_of("1.0.0"), *versions_of("1.0.0"))
    assert 2 == len(Handlers.collect(*versions_of("1.0.0"), *versions_of("1.0.0", namespace="a")))


def test_an_invalid_version_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'new' is not a version"):
        handler("x", version="new")
    with pytest.raises(InvalidInput, match="neither a version nor a range"):
        Workflow("a.w", serves="all")


def workflow(version: str, serves: str = "") -> Workflow:
    made = Workflow("a.w", version=version, serves=serves)

    @made.step
    def only() -> str:
        return version

    return made


@pytest.mark.parametrize(
    ("required", "runs"),
    [("2.3.0", "2.3.0"), ("2.1.0", "2.3.0"), ("2.4.0", None), ("1.9.0", None), ("2.0.0", "2.0.0")],
)
def test_a_workflow_serves_earlier_versions_that_are_not_present_themselves(
    required: str, runs: str | None
) -> None:
    handlers = Handlers.collect(workflow("2.3.0", serves="^2.0"), workflow("2.0.0"))
    assert runs == result(handlers, "a.w.only", "a", required)


def test_steps_of_a_workflow_require_its_version() -> None:
    made = workflow("2.3.0")
    made.add("elsewhere")
    made.add("newer", version=">= 3")
    assert ["2.3.0", "", ">=3"] == [step.handler_version for step in made.template.steps]


# ------------------------------------------------------------------------------ methods


def test_only_call_and_marked_methods_can_be_named() -> None:
    class Gateway:
        def call(self) -> str:
            return self.helper()

        @handler
        def refund(self) -> str:
            return "refunded"

        def helper(self) -> str:
            return "charged"

    gateway = Handlers.collect({"gateway": Gateway}).find_handler("gateway")
    assert gateway is not None
    assert ["charged", "refunded"] == [gateway.entry_point(method)() for method in (None, "refund")]
    with pytest.raises(Misuse, match="'helper', but steps cannot call it: mark it"):
        gateway.entry_point("helper")
