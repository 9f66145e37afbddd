"""Semantic versions: order, latest, ranges."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker.errors import InvalidInput
from tasker.versions import highest_matching_version, is_exact_version, matches, parse, sort_key

numbers = st.integers(0, 12)
parts = st.sampled_from(["", "-alpha", "-alpha.1", "-alpha.beta", "-beta.2", "-beta.11", "-rc.1"])
builds = st.sampled_from(["", "+1", "+2"])
versions = st.builds("{}.{}.{}{}{}".format, numbers, numbers, numbers, parts, builds)


def test_versions_are_ordered_as_numbers() -> None:
    """The order that semver prints for pre-releases, and 10 after 9."""
    ordered = [
        "0.9.9",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.10.0",
        "2.0.0",
        "9.0.0",
        "10.0.0",
    ]

    for shuffled in (reversed(ordered), sorted(ordered), sorted(ordered, key=len)):
        assert sorted(shuffled, key=sort_key) == ordered


@given(st.lists(versions, min_size=3, max_size=3))
def test_the_order_of_versions_is_total(three: list[str]) -> None:
    """Only equal texts are equal."""
    for one, other in itertools.product(three, three):
        assert (sort_key(one) == sort_key(other)) == (one == other)
        assert (sort_key(one) < sort_key(other)) == (sort_key(other) > sort_key(one))
    for first, second, third in itertools.permutations(three):
        if sort_key(first) <= sort_key(second) <= sort_key(third):
            assert sort_key(first) <= sort_key(third)


@given(st.lists(versions))
def test_the_latest_version_is_one_of_the_given(some: list[str]) -> None:
    """The highest release; a pre-release only without any release."""
    newest = highest_matching_version(some)
    releases = [version for version in some if not parse(version).prerelease]

    assert (newest is None) == (not some)
    if newest is not None:
        assert newest in some
        assert all(sort_key(version) <= sort_key(newest) for version in releases or some)
        assert newest in (releases or some)


@given(st.lists(versions), versions)
def test_a_pinned_version_matches_only_itself(some: list[str], pin: str) -> None:
    """Build metadata included."""
    assert highest_matching_version([*some, pin], spec=pin) == pin
    assert [version for version in some if matches(version, pin)] == [
        version for version in some if version == pin
    ]


@given(st.lists(versions), st.sampled_from(["^", "~", ">=", "<", ">", "<=", "="]), versions)
def test_a_range_selects_its_highest_version(some: list[str], sign: str, base: str) -> None:
    """`highest_matching_version` and `matches` agree."""
    spec = f"{sign}{base}"
    fitting = [version for version in some if matches(version, spec)]

    assert highest_matching_version(some, spec=spec) == max(fitting, key=sort_key, default=None)


def test_latest_prefers_releases() -> None:
    """This holds for all spellings of "latest"."""
    for spec in (None, "", "latest", " latest "):
        assert (
            highest_matching_version(["2.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0"], spec=spec)
            == "1.10.0"
        )
        assert highest_matching_version(["2.0.0-rc.1", "2.0.0-alpha"], spec=spec) == "2.0.0-rc.1"
        assert highest_matching_version([], spec=spec) is None


@pytest.mark.parametrize(
    ("spec", "inside", "outside"),
    [
        ("^2.1", "2.1.0 2.1.9 2.99.0", "2.0.9 3.0.0 1.1.0"),
        ("^2.1.3", "2.1.3 2.2.0", "2.1.2 3.0.0"),
        ("^0.3.1", "0.3.1 0.3.9", "0.3.0 0.4.0 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.2 0.0.4 0.1.0"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("^2", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        ("~2.1", "2.1.0 2.1.9", "2.0.9 2.2.0"),
        ("~2.1.3", "2.1.3 2.1.9", "2.1.2 2.2.0"),
        ("~2", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        ("2", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        ("2.x", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        ("2.*", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        ("2.X.X", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        ("2.1", "2.1.0 2.1.9", "2.0.9 2.2.0"),
        ("2.1.x", "2.1.0 2.1.9", "2.0.9 2.2.0"),
        ("=2.1", "2.1.0 2.1.9", "2.0.9 2.2.0"),
        ("==2.1.0", "2.1.0 2.1.0+5", "2.1.1"),
        ("*", "0.0.1 99.0.0", "1.0.0-rc.1"),
        (">=2,<3", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        (">= 2.0.0 , < 3", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        (">=2 <3", "2.0.0 2.9.9", "1.9.9 3.0.0"),
        (">2", "3.0.0", "2.0.0 2.9.9"),
        (">2.1", "2.2.0", "2.1.9"),
        (">2.1.0", "2.1.1", "2.1.0"),
        ("<=2", "2.9.9 1.0.0", "3.0.0"),
        ("<=2.1.0", "2.1.0", "2.1.1"),
        ("<2.1", "2.0.9", "2.1.0"),
        ("^2.1.0-beta.2", "2.1.0-beta.2 2.1.0-rc.1 2.1.0 2.2.0", "2.1.0-beta.1 2.2.0-rc.1 3.0.0-a"),
        (">=2.1.0-rc.1,<3", "2.1.0-rc.1 2.1.0 2.5.0", "2.1.0-beta 2.5.0-rc.1 3.0.0-rc.1"),
        ("2.1.0", "2.1.0", "2.1.0+5 2.1.0-rc.1 2.1.1"),
        ("2.1.0+5", "2.1.0+5", "2.1.0 2.1.0+6"),
        ("2.1.0-rc.1", "2.1.0-rc.1", "2.1.0"),
    ],
)  # fmt: skip
def test_ranges_match_versions(spec: str, inside: str, outside: str) -> None:
    every = [*inside.split(), *outside.split()]

    assert [version for version in every if matches(version, spec)] == inside.split()


@pytest.mark.parametrize(
    "spec",
    [
        "v2",
        "2.x.1",
        "x.1",
        "^*",
        ">=*",
        ">=",
        "2.1.0.0",
        ">=2,,<3",
        "2-rc",
        "^2.1.0-01",
        "||",
        "-1",
        ">=2,",
        "!=2",
        "^^2",
        "٣.0.0",
        "2 .1",
        "9" * 200,
    ],
)
def test_an_invalid_range_is_refused_with_examples(spec: str) -> None:
    """With examples."""
    with pytest.raises(InvalidInput) as raised:
        highest_matching_version(["1.0.0"], spec=spec)

    assert str(raised.value) == (
        f"{spec[:128]!r} is neither a version nor a range;"
        ' write one such as "2.1.0", "^2.1", "~2.1", ">=2,<3", "2.x", "2.1" or "latest"'
    )


@pytest.mark.parametrize(
    "version",
    [
        "1",
        "1.0",
        "v1.0.0",
        "1.0.0.0",
        "01.0.0",
        "1.0.0-",
        "1.0.0-01",
        "1.0.0+",
        "1.٣.0",
        "latest",
        "",
        " 1.0.0",
        "1.0.0\n",
        "9" * 5000 + ".0.0",
    ],
)
def test_an_invalid_version_is_refused_with_examples(version: str) -> None:
    """Wherever it turns up."""
    for refuse in (parse, sort_key):
        with pytest.raises(InvalidInput, match=r"is not a version; write three numbers"):
            refuse(version)
    assert not is_exact_version(version)
    with pytest.raises(InvalidInput):
        highest_matching_version([version])


def test_a_pin_is_one_version() -> None:
    """Neither a range nor "latest" is a pin."""
    assert is_exact_version("1.0.0-rc.1+5")
    assert not is_exact_version("^1.0.0")


def test_builds_are_equal_in_precedence_and_sorted_by_their_text() -> None:
    """The order is then unique."""
    assert highest_matching_version(["1.0.0+b", "1.0.0+c", "1.0.0+a"]) == "1.0.0+c"
    assert highest_matching_version(["1.0.0+b", "1.0.0", "1.0.0+a"], spec="^1") == "1.0.0+b"
