"""The measuring program of `make bench ARGS="--against REV"` runs with today's public names."""

from pathlib import Path

import pytest
from bench.compare import Checkout, Plan, SideFailed, UnknownRevision, compare, run_side
from bench.fleet import ROOT


def test_a_side_runs_all_steps_of_a_checkout_and_returns_its_cost() -> None:
    plan = Plan(revision="HEAD", tasks={"chain": 10})
    sample = run_side(plan, Checkout("tree", ROOT / "src"), "sqlite", "chain", None)
    assert sample["create"]["process"] > 0.0
    assert sample["run"]["process"] > 0.0
    assert 0.0 == sample["run"]["postgres"]


def test_a_side_that_would_measure_other_code_fails(tmp_path: Path) -> None:
    plan = Plan(revision="HEAD", tasks={"chain": 10})
    with pytest.raises(SideFailed, match="tasker was imported from"):
        run_side(plan, Checkout("empty", tmp_path), "sqlite", "chain", None)


def test_an_unknown_revision_is_named() -> None:
    with pytest.raises(UnknownRevision, match="no revision 'nowhere'"):
        compare(Plan(revision="nowhere"), print)
