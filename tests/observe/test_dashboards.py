"""Grafana's dashboards and Prometheus' alerts name metrics, labels and values that exist."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasker.model import AttemptOutcome, TaskStatus
from tasker.observe.metrics import Metrics, StoreGauge

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]

VALUES = {
    "tasker_queue_steps": {"state": {"due", "scheduled", "running", "paused"}},
    "tasker_worker_slots": {"use": {"busy", "free"}},
    "tasker_event_deliveries": {"status": {"pending", "dead"}},
    "tasker_tasks_ended_total": {"status": {one.value for one in TaskStatus}},
    "tasker_attempts_total": {"outcome": {one.value for one in AttemptOutcome}},
}


def series() -> dict[str, set[str]]:
    """Return the labels of all series that Tasker's processes have."""
    labels_by_name: dict[str, set[str]] = {}
    for metric in vars(Metrics()).values():
        if isinstance(metric, StoreGauge):
            labels_by_name[metric._name] = set(metric._labels)
        elif hasattr(metric, "_labelnames"):
            name, labels = metric._name, set(metric._labelnames)
            kinds = {
                "counter": {f"{name}_total": labels},
                "gauge": {name: labels},
                "histogram": {
                    f"{name}_bucket": labels | {"le"},
                    f"{name}_sum": labels,
                    f"{name}_count": labels,
                },
            }
            labels_by_name |= kinds[metric._type]
    return labels_by_name


def expressions() -> Iterator[tuple[str, str]]:
    """Yield all expressions with where they are."""
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name} ${variable['name']}", variable["definition"]
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name} {panel['title']}", target["expr"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[one[0] for one in EXPRESSIONS])
def test_an_expression_uses_series_that_exist(where: str, expression: str) -> None:
    """Its labels exist and have possible values."""
    known = series()
    names = re.findall(r"\btasker_\w+", expression)
    assert names
    assert [] == [name for name in names if name not in known]
    for name, selector in re.findall(r"\b(tasker_\w+)(?:\{(.*?)\})?", expression):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"(.*?)"', selector):
            assert label in known[name], f"{name} has no label {label}"
            allowed = VALUES.get(name, {}).get(label)
            if allowed is not None and not value.startswith("$"):
                values = value.split("|") if "~" in operator else [value]
                assert set(values) <= allowed, f"{label} of {name} is never {value}"
    scraped = {"instance", "job"}
    shared = set.union(*(known[name] for name in names)) | scraped
    for labels in re.findall(r"\b(?:by|without|on)\s*\(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", labels)) <= shared, expression


def test_legends_and_summaries_use_labels_that_the_expression_keeps() -> None:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                _require_kept(target["legendFormat"], target["expr"])
    for rule in RULES:
        for text in rule["annotations"].values():
            _require_kept(text, rule["expr"])


def _require_kept(text: str, expression: str) -> None:
    used = set(re.findall(r"\{\{\s*(?:\$labels\.)?([a-z]\w*)\s*\}\}", text))
    used |= set(re.findall(r"\$labels\.(\w+)", text))
    kept = {
        label
        for labels in re.findall(r"\bby\s*\(([^)]*)\)", expression)
        for label in re.findall(r"\w+", labels)
    }
    assert used <= kept | {"instance"}, (text, expression)


def test_every_alert_leads_to_a_heading_of_the_documentation() -> None:
    for rule in RULES:
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w-]+", "-", one.lower()).strip("-") for one in headings]
        assert anchor in anchors, rule["alert"]


def test_every_metric_of_the_store_is_on_a_dashboard() -> None:
    """A new metric must be added to a dashboard."""
    shown = {
        name
        for where, expression in EXPRESSIONS
        for name in re.findall(r"\btasker_\w+", expression)
    }
    gauges = {metric._name for metric in vars(Metrics()).values() if isinstance(metric, StoreGauge)}
    assert {"tasker_oldest_snapshot_transactions"} == gauges - shown


def test_prometheus_accepts_the_alerts() -> None:
    """And every expression of the dashboards."""
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("TASKER_REQUIRE"):
            pytest.fail("no promtool: apt-get install prometheus")
        pytest.skip("no promtool: apt-get install prometheus")
    queries = [one for where, one in EXPRESSIONS if not one.startswith("label_values")]
    record = [
        {"record": f"test:expression:{no}", "expr": one.replace("$__rate_interval", "5m")}
        for no, one in enumerate(queries)
    ]
    rules = {"groups": [{"name": "dashboards", "rules": record}]}
    for text in (ALERTS.read_text(), yaml.safe_dump(rules)):
        done = subprocess.run(
            [promtool, "check", "rules", "/dev/stdin"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr
