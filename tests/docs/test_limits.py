"""The page on limits names each bound with its value."""

import re
from pathlib import Path

from tasker import limits


def test_the_page_on_limits_lists_every_bound() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    rows = re.findall(r"^\|.*\| ([\d,]+)[^|]*\| `\w+` \| `(\w+)` \|$", page, re.MULTILINE)
    listed = {name: int(bound.replace(",", "")) for bound, name in rows}
    assert listed == {name: value for name, value in vars(limits).items() if name.isupper()}
