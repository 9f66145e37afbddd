"""The Rust of the founding documents runs as printed, against a real server.

The block is a page of mdBook, which wraps it into `fn main`; the wrapper is taken off. Supplied are
the `use` line and the handlers of the other steps.
"""

from pathlib import Path
from typing import Any

import pytest
from sdk.conformance.languages import LANGUAGES, selected
from sdk.conformance.real_server import real_server, rust_program
from sdk.founding.documents import block_at, folder, text_of

pytestmark = [
    pytest.mark.skipif(
        folder() is None, reason="needs the founding documents (TASKER_FOUNDING_DOCUMENTS)"
    ),
    pytest.mark.skipif("rust" not in selected(), reason="TASKER_SDK names other languages"),
]

PROGRAM = """
use std::collections::HashMap;

use serde_json::{json, Value};
use tasker::{ApiError, Worker};

// A function of the task's context and of the results of earlier steps.
fn process_gateway_refund(
    context: &Value,
    results: &HashMap<String, Value>,
) -> Result<Value, String> {
    let validated = results.get("validate_payment_eligibility").ok_or("not validated")?;
    Ok(json!({"refunded": validated["refund_amount"], "payment_id": context["payment_id"]}))
}

fn succeed(_: &Value) -> Result<Value, String> {
    Ok(json!({}))
}

#[tokio::main]
async fn main() -> Result<(), ApiError> {
    Worker::from_env()
        .namespaces(["payments"])
        .handler("team_scaling_payments_validate_eligibility", validate_payment_eligibility)
        .handler("team_scaling_payments_process_gateway_refund", process_gateway_refund)
        .handler("team_scaling_payments_update_records", succeed)
        .handler("team_scaling_payments_notify_customer", succeed)
        .run()
        .await
}
"""


def test_a_payment_is_refunded(tmp_path: Path) -> None:
    if problem := LANGUAGES["rust"].missing():
        pytest.skip(problem)
    lines = text_of(block_at("003:215")).splitlines()
    assert ["#![allow(unused)]", "fn main() {", "}"] == [*lines[:2], lines[-1]]
    source = PROGRAM + "\n".join(lines[2:-1]) + "\n"
    program = rust_program(tmp_path / "code", "founding_worker", source)
    with real_server(tmp_path) as server:
        server.register(text_of(block_at("003:102")))
        with server.running(str(program), cwd=tmp_path, TASKER_URL=server.url):
            payment: dict[str, Any] = {"payment_id": "p-1", "refund_amount": 49.99}
            cases: dict[str, dict[str, Any]] = {
                "Missing payment_id in context": {"refund_amount": 1},
                "Missing or invalid refund_amount": {"payment_id": "p-1"},
                "Refund amount must be positive": {**payment, "refund_amount": 0},
                "Payment method 'crypto' does not support automated refunds": {
                    **payment,
                    "payment_method": "crypto",
                },
            }
            task = server.create("payments.process_refund", **payment)
            failing = {
                message: server.create("payments.process_refund", **context)
                for message, context in cases.items()
            }
            results = server.results(task)
            validated = results["validate_payment_eligibility"]
            assert ("eligible", "credit_card", "payments") == tuple(
                validated[name] for name in ("eligibility_status", "payment_method", "namespace")
            )
            refunded = {"refunded": 49.99, "payment_id": "p-1"}
            assert refunded == results["process_gateway_refund"]
            for message, task in failing.items():
                assert "error" == server.ended(task)["status"]
                step = server.steps(task)["validate_payment_eligibility"]
                assert (message, 1) == (step["error"]["message"], step["attempts"])
