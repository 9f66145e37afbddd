"""The page on limits names each bound with its value."""

import re
from pathlib import Path

from tasker import limits


def test_the_page_on_limits_lists_every_bound() -> None:
    """Values that are written as numbers are compared too."""
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    rows = re.findall(r"^\|.*\| ([^|]+) \| [^|]+ \| `([A-Z_]+)` \|$", page, re.MULTILINE)
    bounds = {name: value for name, value in vars(limits).items() if name.isupper()}

    assert sorted(bounds) == sorted(name for _, name in rows)
    for bound, name in rows:
        if re.fullmatch(r"[\d,]+", bound):
            assert (name, bounds[name]) == (name, int(bound.replace(",", "")))
