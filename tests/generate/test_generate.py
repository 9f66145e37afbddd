"""Types and handlers that are generated from a template.

The expected files are in `golden/`; `GOLDEN=1 pytest tests/generate` writes them again. The
conformance kit compiles them.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasker.generate import LANGUAGES, generate_handlers, generate_types
from tasker.generate.names import camel_case, pascal_case, snake_case
from tasker.layout import steps_with_handlers
from tasker.template.load import load_template
from tasker.testing import run_step

GOLDEN = Path(__file__).parent / "golden"
TEMPLATE = load_template(GOLDEN / "process_refund.yaml")


def _expect(file: str, text: str) -> None:
    path = GOLDEN / f"{file}.expected"
    if "GOLDEN" in os.environ:
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize("language", LANGUAGES)
def test_types_and_handlers_are_as_expected(language: str) -> None:
    writer = LANGUAGES[language]
    steps = [*steps_with_handlers(TEMPLATE.steps)]
    handlers = generate_handlers(TEMPLATE, steps, language, "process_refund_types")

    _expect(f"process_refund_types{writer.types_suffix}", generate_types(TEMPLATE, language))
    _expect(f"process_refund{writer.suffix}", handlers)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder from which the generated Python can be imported."""
    for file in GOLDEN.glob("*.py.expected"):
        (tmp_path / file.stem).write_text(file.read_text("utf-8"), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_python_types_accept_what_the_schema_allows() -> None:
    types: Any = import_module("process_refund_types")
    context = {
        "payment_id": "p-1",
        "refund_amount": 5,
        "method": "3ds",
        "order-lines": [{"sku": "a", "$ref_like": True}],
        "model_name": "m",
        "type": None,
    }

    read = types.ProcessRefundInput.model_validate(context)

    line = read.order_lines[0]
    assert ("a", True, "m") == (line.sku, line.ref_like, read.model_name_)
    with pytest.raises(ValidationError):
        types.ProcessRefundInput.model_validate({**context, "method": "cash"})


@pytest.mark.usefixtures("folder")
def test_python_handlers_receive_typed_results() -> None:
    handlers: Any = import_module("process_refund")
    results = {"validate_refund": {"eligible": True}, "ledgerEntries": [1]}

    written = run_step(handlers.execute, results=results)
    mistaken = run_step(handlers.execute, results={**results, "ledgerEntries": ["x"]})

    assert "execute is not written yet" == str(written.error)
    assert "ledgerEntries" in str(mistaken.error)


def test_names_follow_the_conventions_of_languages() -> None:
    cases = {
        "validate_refund": ("ValidateRefund", "validateRefund", "validate_refund"),
        "ledgerEntries": ("LedgerEntries", "ledgerEntries", "ledger_entries"),
        "HTTPStatus code-2": ("HttpStatusCode2", "httpStatusCode2", "http_status_code_2"),
        "3ds": ("N3Ds", "n3Ds", "n_3_ds"),
        "€": ("Value", "value", "value"),
    }
    assert cases == {
        name: (pascal_case(name), camel_case(name), snake_case(name)) for name in cases
    }
