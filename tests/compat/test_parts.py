"""The parts that applications of the earlier package use by themselves, as in their unit tests."""

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from tests.compat.app.handlers.orders import process_payment, validate_cart

import tasker_core
from tasker_core import (
    ApiHandler,
    Batchable,
    BatchAggregationScenario,
    DecisionPointOutcome,
    HandlerDefinition,
    HandlerRegistry,
    RegistryResolver,
    ResolverNotFoundError,
    StepContext,
    StepHandler,
    StepHandlerResult,
    errors,
)
from tasker_core.environment import expand
from tasker_core.registry import ResolverChain
from tasker_core.step_handler import api_handler, depends_on, inputs, step_handler

IMPORTS = """
tasker_core.batch_processing.batchable tasker_core.bootstrap tasker_core.client
tasker_core.domain_events tasker_core.errors.error_classifier tasker_core.event_bridge
tasker_core.event_poller tasker_core.examples.checkpoint_yield tasker_core.exceptions
tasker_core.handler tasker_core.logging tasker_core.models tasker_core.observability
tasker_core.registry tasker_core.step_execution_subscriber tasker_core.step_handler.api
tasker_core.step_handler.base tasker_core.step_handler.decision
tasker_core.step_handler.functional tasker_core.step_handler.mixins.api
tasker_core.step_handler.mixins.decision tasker_core.template_discovery tasker_core.types
tasker_core.worker
"""


def test_all_modules_and_names_can_be_imported_without_a_worker() -> None:
    code = "".join(f"import {name}\n" for name in IMPORTS.split())
    code += "assert all(hasattr(tasker_core, name) for name in tasker_core.__all__)"

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)

    assert 121 == len(tasker_core.__all__)


# ---------------------------------------------------------------------- results


def test_success_is_both_a_factory_and_a_field_of_results() -> None:
    success = StepHandlerResult.success({"a": 1}, metadata={"m": 2})
    failure = StepHandlerResult.failure("no", errors_type := "limit", retryable=False)

    assert (True, {"a": 1}, {"m": 2}) == (success.success, success.result, success.metadata)
    assert (False, errors_type, False) == (failure.success, failure.error_type, failure.retryable)
    assert StepHandlerResult.model_validate({"is_success": True}).success is True
    assert "success" in success.model_dump(by_alias=True)


# --------------------------------------------------------------------- contexts


def test_a_context_unwraps_one_envelope_of_a_result() -> None:
    context = StepContext.build(
        input={"zero": 0, "none": None},
        results={"a": {"result": 5, "other": 6}, "b_1": [1], "b_2": {"x": {"y": 7}}},
        config={"limit": 3},
        attempts=2,
        checkpoint={"cursor": 0, "items_processed": 4},
    )

    assert {"result": 5, "other": 6} == context.get_dependency_result("a")
    assert 7 == context.get_dependency_field("b_2", "x", "y")
    assert context.get_dependency_field("b_1", "x") is None
    assert [[1], {"x": {"y": 7}}] == context.get_all_dependency_results("b_")
    assert (0, 9) == (context.get_input_or("zero", 9), context.get_input_or("none", 9))
    assert 3 == context.get_config("limit")
    assert (True, True) == (context.is_retry(), context.is_last_retry())
    assert (True, 4) == (context.has_checkpoint(), context.checkpoint_items_processed)
    assert {"zero": 0, "none": None} == context.task_sequence_step.task.context


def test_handlers_take_any_context_with_the_two_methods() -> None:
    context = MagicMock()
    context.get_dependency_result.return_value = {"total": 4, "currency": "EUR"}
    context.get_input.return_value = None

    @step_handler("double")
    @depends_on(cart="validate_cart")
    def double(cart: dict[str, Any]) -> dict[str, Any]:
        return {"total": 2 * cart["total"]}

    result = double._handler_class().call(context)  # type: ignore[attr-defined]

    assert {"total": 8} == result.result


# -------------------------------------------------------------------- functions


def test_decorators_work_in_any_order_and_keep_the_function_callable() -> None:
    @depends_on(a="first")
    @inputs("b")
    @step_handler("late")
    def late(a: int, b: int, _context: StepContext) -> int:
        return a + b + _context.retry_count

    context = StepContext.build(input={"b": 2}, results={"first": 1}, attempts=4)

    assert {"result": 7} == late._handler_class().call(context).result  # type: ignore[attr-defined]
    assert 5 == late(2, 3, StepContext.build())


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (errors.ValidationError("x"), "permanent_error", False),
        (errors.PermanentError("x", retryable=True), "permanent_error", False),
        (errors.RateLimitError("x"), "retryable_error", True),
        (errors.TaskerError("x", retryable=False), "handler_error", False),
        (ValueError("x"), "handler_error", True),
    ],
)
def test_the_error_of_a_function_determines_whether_it_is_retried(
    error: Exception, kind: str, retryable: bool
) -> None:
    @step_handler("fails")
    def fails() -> None:
        raise error

    result = fails._handler_class().call(StepContext.build())  # type: ignore[attr-defined]

    assert ("x", kind, retryable) == (result.error_message, result.error_type, result.retryable)


def test_models_have_defaults_and_may_raise_permanent_errors() -> None:
    handler = validate_cart._handler_class()  # type: ignore[attr-defined]

    good = handler.call(StepContext.build(input={"items": [{"price": 2}]}))
    bad = handler.call(StepContext.build(input={"items": []}))
    missing = handler.call(StepContext.build())

    assert {"total": 2, "currency": "EUR"} == good.result
    assert ("permanent_error", "EMPTY_CART") == (bad.error_type, bad.error_code)
    assert ("handler_error", True) == (missing.error_type, missing.retryable)


def test_async_functions_are_awaited() -> None:
    handler = process_payment._handler_class()  # type: ignore[attr-defined]
    results = {"validate_cart": {"total": 3, "currency": "EUR"}}

    result = asyncio.run(handler.call(StepContext.build(results=results, attempts=1)))

    assert {"charged": 3, "attempts": 1} == result.result


# ------------------------------------------------------------------------- APIs


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "bad_request", False),
        (418, "client_error", False),
        (429, "rate_limited", True),
        (501, "server_error", False),
        (503, "service_unavailable", True),
    ],
)
def test_the_status_of_a_response_determines_whether_it_is_retried(
    status: int, kind: str, retryable: bool
) -> None:
    class Ask(ApiHandler):
        handler_name = "ask"
        base_url = "http://api.invalid"

        def call(self, context: StepContext) -> StepHandlerResult:
            return self.api_failure(self.get("/x"))

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"error": "no"}, headers={"Retry-After": "7"})

    handler = Ask()
    handler._client = httpx.Client(transport=httpx.MockTransport(respond), base_url=Ask.base_url)
    result = handler.call(StepContext.build())
    handler.close()

    assert (kind, retryable, f"HTTP {status}: no", 7) == (
        result.error_type,
        result.retryable,
        result.error_message,
        result.metadata["retry_after_seconds"],
    )


def test_an_api_function_receives_a_client() -> None:
    @api_handler("lookup", "http://api.invalid", timeout=1)
    @inputs("id")
    def lookup(id: int, api: Any) -> Any:
        return api.api_success(api.get(f"/{id}"))

    handler = lookup._handler_class()  # type: ignore[attr-defined]
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json={"at": request.url.path})
    )
    handler._client = httpx.Client(transport=transport, base_url="http://api.invalid")

    assert {"at": "/5"} == handler.call(StepContext.build(input={"id": 5})).result
    handler.close()


# ------------------------------------------------------------ decisions, batches


def test_decisions_and_batches_have_the_documented_form() -> None:
    batches = Batchable()
    outcome = batches.create_batch_outcome(5, 2, batch_metadata={"file": "a"})

    result = batches.batch_analyzer_success(outcome, worker_template_name="work").result or {}
    nothing = batches.batch_analyzer_success(batches.create_batch_outcome(0, 2)).result or {}

    assert [("001", 0, 2), ("002", 2, 4), ("003", 4, 5)] == [
        (each["batch_id"], each["start_cursor"], each["end_cursor"])
        for each in result["batch_processing_outcome"]["cursor_configs"]
    ]
    assert ({"file": "a"}, 5, 3) == (
        result["batch_metadata"],
        result["total_items"],
        result["worker_count"],
    )
    assert {"type": "no_batches"} == nothing["batch_processing_outcome"]
    assert {"type": "create_steps", "step_names": ["a"]} == DecisionPointOutcome.create_steps(
        ["a"]
    ).as_result()["decision_point_outcome"]
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        batches.create_cursor_ranges(5, 0)
    with pytest.raises(ValueError, match="has no result"):
        BatchAggregationScenario.detect({}, "analyze", "work_")


# -------------------------------------------------------------------- resolvers


def test_resolvers_are_tried_by_priority_or_selected_by_name() -> None:
    class Double(StepHandler):
        handler_name = "double"

        def call(self, context: StepContext) -> StepHandlerResult:
            return self.success({"via": "registered"})

        def other(self, context: StepContext) -> StepHandlerResult:
            return self.success({"via": "method"})

    class Prefixed(RegistryResolver):
        _name = "prefixed"
        prefix = "x:"

        def resolve_handler(self, definition: HandlerDefinition, config: Any = None) -> Any:
            return SimpleNamespace(call=lambda context: definition.callable)

    chain = ResolverChain.default().register("double", Double).add_resolver(Prefixed())

    assert ["explicit_mapping", "prefixed", "class_lookup"] == chain.resolver_names
    assert "x:1" == chain.resolve(HandlerDefinition("x:1")).call(None)
    wrapped = chain.resolve(HandlerDefinition("double", "other"))
    assert {"via": "method"} == wrapped.call(StepContext.build()).result
    assert chain.resolve(HandlerDefinition("double", "absent")) is None
    assert chain.resolve(HandlerDefinition("double", resolver="prefixed")) is None
    with pytest.raises(ResolverNotFoundError, match="resolver 'absent' does not exist"):
        chain.resolve(HandlerDefinition("double", resolver="absent"))
    assert not chain.can_resolve(HandlerDefinition("os.system"))


def test_the_registry_refuses_other_objects_and_survives_broken_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = HandlerRegistry()
    package = tmp_path / "shop_with_error"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_text("raise RuntimeError('broken')")
    (package / "good.py").write_text(
        "from tasker_core.step_handler import step_handler\n"
        "@step_handler('good')\ndef good():\n    return {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert 1 == registry.discover_handlers("shop_with_error")
    assert 0 == registry.discover_handlers("no_such_package")
    assert ["good"] == registry.list_handlers()
    with pytest.raises(ValueError, match="must be a subclass of StepHandler"):
        registry.register("x", int)


# ---------------------------------------------------------------- configuration


def test_variables_are_expanded_with_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB", "postgresql://db/shop")
    monkeypatch.delenv("ABSENT", raising=False)

    assert "postgresql://db/shop a ${ABSENT}" == expand("${SHOP_DB:-x} ${ABSENT:-a} ${ABSENT}")
