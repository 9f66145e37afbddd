"""What the pages call things, and what they read, compared with the model and the API."""

import re
from pathlib import Path

from tasker.api.app import _build_openapi_document
from tasker.model import AttemptOutcome, StepStatus, TaskStatus

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "ui" / "src"


def body_of(table: str) -> str:
    """Return the lines of a table in `status.ts`."""
    text = (SOURCES / "status.ts").read_text()
    return text.split(f"export const {table}", 1)[1].split("\n}\n", 1)[0]


def keys_of(table: str) -> set[str]:
    """Return the keys of a table in `status.ts`."""
    return set(re.findall(r"^  (\w+):", body_of(table), re.MULTILINE))


def labels_of(table: str) -> dict[str, str]:
    """Return the labels of a table in `status.ts`, by status."""
    return dict(re.findall(r'^  (\w+): \{ label: "([^"]+)"', body_of(table), re.MULTILINE))


def test_every_status_and_outcome_has_a_label() -> None:
    """The pages contain no others."""
    assert {status.value for status in StepStatus} == keys_of("STEP_LOOKS")
    assert {status.value for status in TaskStatus} == keys_of("TASK_LOOKS")
    assert {outcome.value for outcome in AttemptOutcome} == keys_of("OUTCOME_LABELS")


def test_statuses_have_the_labels_of_the_glossary() -> None:
    """Those of steps also apply to tasks."""
    glossary = (ROOT / "docs" / "glossary.md").read_text().split("## Statuses", 1)[1]
    labels = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", glossary, re.MULTILINE))

    assert labels == labels_of("STEP_LOOKS")
    assert labels_of("TASK_LOOKS").items() <= labels.items()


def test_every_field_that_the_pages_read_is_in_the_openapi_description() -> None:
    """Models are matched by name."""
    schemas = _build_openapi_document(secured=True, metrics_public=False)["components"]["schemas"]
    text = (SOURCES / "api" / "types.ts").read_text()
    interfaces = re.findall(r"export interface (\w+) \{\n(.*?)\n\}", text, re.DOTALL)
    compared = {name: body for name, body in interfaces if name in schemas}

    assert 20 <= len(compared)
    for name, body in compared.items():
        read = set(re.findall(r"^  (\w+):", body, re.MULTILINE))
        assert set() == read - set(schemas[name]["properties"]), name
