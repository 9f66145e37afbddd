"""The measuring program of `make bench ARGS="--against REV"` runs with today's public names."""

from pathlib import Path

import pytest
from bench.compare import (
    Checkout,
    Plan,
    SideFailed,
    UnknownRevision,
    Unsupported,
    compare,
    run_side,
)
from bench.compared import COMPARED, Compared, named
from bench.fleet import ROOT
from bench.measurements import SCALES
from bench.report import Report
from bench.scale import row_of

TREE = Checkout("tree", ROOT / "src")
OMITTED = ("chain", "fan50", "queues-1000", "queues-5000", "processes-2", "processes-4")
CHAIN = named(["chain"])[0]


def test_a_side_runs_all_steps_of_a_checkout_and_returns_its_cost() -> None:
    sample = run_side(TREE, CHAIN, "sqlite", None, amount=10)
    assert sample["create"]["process"] > 0.0
    assert sample["run"]["process"] > 0.0
    assert 0.0 == sample["run"]["postgres"]


@pytest.mark.parametrize(
    "workload",
    [one for one in COMPARED if one.name not in OMITTED and "sqlite" in one.measures],
    ids=lambda one: one.name,
)
def test_each_workload_reports_every_cost_that_is_compared(workload: Compared) -> None:
    amount = 40
    if workload.program.startswith(("api", "remote")):  # the system counts a server's CPU in 10 ms
        amount = 400
    elif workload.program == "memory":
        amount = 200
    sample = run_side(TREE, workload, "sqlite", None, amount=amount)
    assert all(measure.of(sample) > 0.0 for measure in workload.measures["sqlite"])
    if workload.program in SCALES:
        rows = [row_of(workload, "sqlite", phase, cost) for phase, cost in sample.items()]
        assert len(sample) == Report({}, rows=rows).as_markdown().count("| SQLite |")


def test_a_side_that_would_measure_different_code_fails(tmp_path: Path) -> None:
    with pytest.raises(SideFailed, match="tasker was imported from"):
        run_side(Checkout("empty", tmp_path), CHAIN, "sqlite", None, amount=10)


def test_a_revision_that_lacks_a_workloads_requirements_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasker").mkdir()
    (tmp_path / "tasker" / "__init__.py").touch()
    with pytest.raises(Unsupported, match=r"chain on sqlite cannot be measured for old: .*import"):
        run_side(Checkout("old", tmp_path), CHAIN, "sqlite", None, amount=10)


def test_an_unknown_revision_is_named() -> None:
    with pytest.raises(UnknownRevision, match="no revision 'nowhere'"):
        compare(Plan(revision="nowhere"), print)
