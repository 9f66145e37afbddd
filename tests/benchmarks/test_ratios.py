"""The statistics by which `make bench ARGS="--against REV"` decides."""

import random
from collections.abc import Sequence

import pytest
from bench.compare import Line
from bench.ratios import Interval, Ratio, median_interval


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (5, Interval(1, 5)),  # covers 1 - 2/32 = 93.8 %
        (7, Interval(1, 7)),  # (2, 6) would cover 87.5 %
        (8, Interval(2, 7)),  # 1 - 2 * 9/256 = 93.0 %
        (11, Interval(3, 9)),  # 1 - 2 * 67/2048 = 93.5 %
        (15, Interval(4, 12)),  # 1 - 2 * 576/32768 = 96.5 %; (5, 11) would cover 88.2 %
    ],
)
def test_the_interval_is_made_of_the_innermost_values_that_cover_90_percent(
    count: int, expected: Interval
) -> None:
    values: list[float] = list(range(1, count + 1))
    random.Random(1).shuffle(values)
    assert expected == median_interval(values)


def test_a_lower_level_gives_a_narrower_interval() -> None:
    assert Interval(2, 4) == median_interval([5, 4, 3, 2, 1], level=0.6)


def test_too_few_values_give_no_interval() -> None:
    with pytest.raises(ValueError, match="4 values are too few for a 90% interval"):
        median_interval([1.0, 1.0, 1.0, 1.0])


def test_the_interval_covers_the_true_median_in_at_least_90_percent_of_samples() -> None:
    draws = random.Random(7)
    samples = [[draws.lognormvariate(0, 0.2) for _ in range(11)] for _ in range(2_000)]
    intervals = [median_interval(sample) for sample in samples]
    assert sum(low <= 1.0 <= high for low, high in intervals) >= 1_800


def test_ratios_are_computed_round_by_round() -> None:
    """A machine that becomes four times slower during the run changes no ratio."""
    ratio = Ratio.of([11, 22, 33, 44, 55], [10, 20, 30, 40, 50])
    assert Ratio(1.1, Interval(1.1, 1.1)) == ratio


def test_one_outlier_moves_the_interval_but_not_the_median() -> None:
    ratio = Ratio.of([1.0, 1.0, 9.0, 1.0, 1.0], [1.0] * 5)
    assert Ratio(1.0, Interval(1.0, 9.0)) == ratio


def test_sides_with_different_numbers_of_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Ratio.of([1.0] * 6, [1.0] * 5)


@pytest.mark.parametrize(
    ("tree", "control", "expected"),
    [
        ([1.05, 1.06, 1.07, 1.08, 1.09], [0.98, 0.99, 1.0, 1.01, 1.02], "worse"),
        ([0.90, 0.91, 0.92, 0.93, 0.94], [0.98, 0.99, 1.0, 1.01, 1.02], "better"),
        ([1.01, 1.04, 1.05, 1.06, 1.07], [0.98, 0.99, 1.0, 1.01, 1.02], "no difference"),
        # Beyond 1, but not beyond what two copies of the same code differ by:
        ([1.03, 1.04, 1.05, 1.06, 1.07], [1.02, 1.03, 1.04, 1.05, 1.06], "no difference"),
        # Touching intervals overlap:
        ([1.02, 1.03, 1.04, 1.05, 1.06], [0.98, 0.99, 1.0, 1.01, 1.02], "no difference"),
    ],
)
def test_a_ratio_is_significant_only_outside_the_interval_of_the_control(
    tree: Sequence[float], control: Sequence[float], expected: str
) -> None:
    line = Line(
        store="sqlite",
        workload="chain",
        measure="run: worker",
        unit="us/step",
        tree=tree,
        base=[1.0] * 5,
        control=control,
    )
    assert expected == line.verdict
    assert (expected != "no difference") == line.as_json()["counts"]
