"""Cases 55 and 56: which of its handlers a worker calls."""

import pytest
from sdk.conformance.server import ScriptedServer, Step

#: the namespace of a step, the version that it requires, and the code that runs
WHICH = [
    ("conformance", "1.0.0", "first"),
    ("conformance", "2.0.0", "second"),
    ("elsewhere", "", "elsewhere"),
]


@pytest.mark.parametrize("order", [1, -1])
def test_case_55_a_step_reaches_the_handler_that_the_claim_names(
    running: ScriptedServer, order: int
) -> None:
    """Of three with the same name, which differ in their versions and namespaces."""
    steps = [
        Step("which", namespace=namespace, handler_version=version)
        for namespace, version, _ in WHICH
    ]
    running.add(*steps[::order])
    running.wait_for_outcomes(*steps)
    assert [{"code": code} for _, _, code in WHICH] == [step.result for step in steps]


def test_case_56_a_claim_that_names_no_handler_is_for_the_one_of_that_name(
    running: ScriptedServer,
) -> None:
    """As a server of an earlier version sends it."""
    running.names_handlers = False
    step, missing = running.add(Step("echo", {"a": 1})), running.add(Step("nobody.wrote.this"))
    running.wait_for_outcomes(step, missing)
    assert {"a": 1} == step.result
    assert "handler_not_found" == missing.outcome["error"]["code"]
