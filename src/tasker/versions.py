"""Semantic versions: their order, the latest one, and ranges.

A range is one or more of these terms, joined by commas, all of which must match:

| Written                      | Means                                  |
|------------------------------|----------------------------------------|
| `^2.1`, `^0.3.1`             | `>=2.1.0,<3.0.0`, `>=0.3.1,<0.4.0`     |
| `~2.1`, `~2`                 | `>=2.1.0,<2.2.0`, `>=2.0.0,<3.0.0`     |
| `2.1`, `2.1.x`, `2.1.*`      | `>=2.1.0,<2.2.0`                       |
| `*`                          | any release                            |
| `>`, `>=`, `<`, `<=`, `=`    | as they say; `>2.1` is `>=2.2.0`       |

A pre-release is in a range only if the range names a pre-release of the same x.y.z. Build metadata
is ignored in comparisons and ranges.
"""

import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from semver import Version

from tasker.errors import InvalidInput

LATEST = "latest"

_LONGEST = 128  #: characters of a version or a range
_NUMBER = r"(\d{1,18}|[xX*])"
_TERM = re.compile(
    rf"(?P<op>\^|~|>=|<=|>|<|==?|)(?P<x>{_NUMBER})(\.(?P<y>{_NUMBER}))?(\.(?P<z>{_NUMBER}))?"
    r"(?P<pre>-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?",
    re.ASCII,
)
_ALLOWED = 'three numbers such as "2.1.0", with an optional pre-release ("2.1.0-beta.1")'
_RANGES = '"2.1.0", "^2.1", "~2.1", ">=2,<3", "2.x", "2.1" or "latest"'


class _VersionBound(NamedTuple):
    """One comparison that a version must pass."""

    holds: Callable[[Version, Version], bool]
    version: Version


def parse(version: str) -> Version:
    """Read a version.

    Raises:
        InvalidInput: It is not x.y.z with an optional pre-release and build.
    """
    try:
        if len(version) > _LONGEST:
            raise ValueError
        return Version.parse(version)
    except ValueError:
        shown = version[:_LONGEST]
        raise InvalidInput(f"{shown!r} is not a version; write {_ALLOWED}") from None


def sort_key(version: str) -> tuple[Version, str]:
    """Return the key by which versions sort: 10.0.0 after 9.0.0, 1.0.0-rc.1 before 1.0.0.

    Versions that differ only in their build are equal; here their text orders them, so sorting is
    deterministic.

    Raises:
        InvalidInput: It is not a version.
    """
    parsed = parse(version)
    return parsed, parsed.build or ""


def canonicalize(spec: str) -> str:
    """Return a version or range in its canonical spelling: terms joined by commas, no spaces.

    Raises:
        InvalidInput: It is neither a version nor a range.
    """
    if not is_exact_version(spec):
        _parse_range(spec)
    tight = re.sub(r"(?<=[<>=^~])\s+", "", spec.strip())
    return re.sub(r"\s*,\s*|\s+", ",", tight)


def is_exact_version(spec: str) -> bool:
    """Return whether `spec` is one exact version rather than a range or "latest"."""
    try:
        parse(spec)
    except InvalidInput:
        return False
    return True


def matches(version: str, spec: str) -> bool:
    """Return whether `version` matches an exact version or range.

    Raises:
        InvalidInput: `version` is not a version, or `spec` is neither a version nor a range.
    """
    if is_exact_version(spec):
        return version == spec
    return _satisfies(parse(version), _parse_range(spec))


def highest_matching_version(versions: Iterable[str], *, spec: str | None = None) -> str | None:
    """Return the highest of the versions that match a range.

    Args:
        versions: The available versions, in any order.
        spec: An exact version, a range, or None, "" or "latest": the highest release, or the
            highest pre-release if there is no release.

    Returns:
        One of `versions`; None if none matches.

    Raises:
        InvalidInput: One of `versions` is not a version, or `spec` is not a range.
    """
    if spec is None or spec.strip() in ("", LATEST):
        ordered = sorted(versions, key=sort_key)
        releases = [version for version in ordered if not parse(version).prerelease]
        return next(reversed(releases or ordered), None)
    spec = spec.strip()
    if is_exact_version(spec):
        return spec if spec in set(versions) else None
    bounds = _parse_range(spec)
    fitting = [version for version in versions if _satisfies(parse(version), bounds)]
    return max(fitting, key=sort_key, default=None)


def _satisfies(version: Version, bounds: list[_VersionBound]) -> bool:
    if version.prerelease and not any(
        _is_pre_release_allowed_by(version, bound) for bound in bounds
    ):
        return False
    return all(bound.holds(version, bound.version) for bound in bounds)


def _is_pre_release_allowed_by(version: Version, bound: _VersionBound) -> bool:
    named = bound.version
    return bool(named.prerelease) and named.to_tuple()[:3] == version.to_tuple()[:3]


def _parse_range(spec: str) -> list[_VersionBound]:
    """Return the comparisons of a range; an empty list matches any release."""
    if len(spec) > _LONGEST:
        raise _invalid_range_error(spec)
    tight = re.sub(r"(?<=[<>=^~])\s+", "", spec.strip())
    return [bound for term in re.split(r"\s*,\s*|\s+", tight) for bound in _parse_term(term, spec)]


def _parse_term(term: str, spec: str) -> list[_VersionBound]:
    """Read one term of a range."""
    term_match = _TERM.fullmatch(term)
    if term_match is None:
        raise _invalid_range_error(spec)
    numbers = _leading_numbers([term_match["x"], term_match["y"], term_match["z"]], spec)
    low = Version(*numbers, *[0] * (3 - len(numbers)))
    if term_match["pre"]:
        if len(numbers) < 3:
            raise _invalid_range_error(spec)
        low = _parse_pre_release(low, term_match["pre"], spec)
    op = term_match["op"]
    if not numbers:
        if op:
            raise _invalid_range_error(spec)
        return []
    return _operator_bounds(op, numbers, low)


def _operator_bounds(op: str, numbers: list[int], low: Version) -> list[_VersionBound]:
    """Write `op` and a version, perhaps partial, as plain comparisons."""
    last = len(numbers) - 1
    if op == "^":
        leading = next((at for at, number in enumerate(numbers) if number), last)
        return _half_open_bounds(low, _next_version_after(numbers, leading))
    if op == "~":
        return _half_open_bounds(low, _next_version_after(numbers, min(last, 1)))
    full = last == 2
    if op == ">=":
        return [_VersionBound(operator.ge, low)]
    if op == "<":
        return [_VersionBound(operator.lt, low)]
    if op == ">":
        return [
            _VersionBound(operator.gt, low)
            if full
            else _VersionBound(operator.ge, _next_version_after(numbers, last))
        ]
    if op == "<=":
        return [
            _VersionBound(operator.le, low)
            if full
            else _VersionBound(operator.lt, _next_version_after(numbers, last))
        ]
    return (
        [_VersionBound(operator.eq, low)]
        if full
        else _half_open_bounds(low, _next_version_after(numbers, last))
    )


def _half_open_bounds(low: Version, high: Version) -> list[_VersionBound]:
    return [_VersionBound(operator.ge, low), _VersionBound(operator.lt, high)]


def _next_version_after(numbers: list[int], at: int) -> Version:
    """Return the first version after all that begin with `numbers` up to index `at`."""
    bumped = [*numbers[:at], numbers[at] + 1]
    return Version(*bumped, *[0] * (3 - len(bumped)))


def _leading_numbers(parts: list[str | None], spec: str) -> list[int]:
    """Read the numbers before the first wildcard; after one there may be no number."""
    wild = [part is None or not part.isdigit() for part in parts]
    count = wild.index(True) if True in wild else len(parts)
    if not all(wild[count:]):
        raise _invalid_range_error(spec)
    return [int(part) for part in parts[:count] if part is not None]


def _parse_pre_release(low: Version, suffix: str, spec: str) -> Version:
    try:
        return Version.parse(f"{low}{suffix}")
    except ValueError:
        raise _invalid_range_error(spec) from None


def _invalid_range_error(spec: str) -> InvalidInput:
    return InvalidInput(
        f"{spec[:_LONGEST]!r} is neither a version nor a range; write one such as {_RANGES}"
    )
