"""Pictures of the pages for the documentation: `make pictures` keeps them.

They are not compared with the committed ones, as fonts and browsers differ between machines.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import Guard, Site, opened

PAGES = {
    "ui-tasks": "tasks",
    "ui-task": "task retry?step=charge_card",
    "ui-failures": "failures",
}


@pytest.mark.parametrize("name", PAGES)
def test_pictures_match_the_recorded_ones(
    browser: Any, site: Site, guard: Guard, tmp_path: Path, name: str
) -> None:
    """Each picture shows a loaded page in full height."""
    kept = os.environ.get("TASKER_TEST_PICTURES")
    folder = Path(kept) if kept else tmp_path
    path = PAGES[name]
    if path.startswith("task "):
        key, _, query = path[5:].partition("?")
        path = f"tasks/{site.tasks[key]}?{query}"
    with opened(browser, site, guard, viewport={"width": 1280, "height": 720}) as page:
        page.goto(path)
        page.locator("main h1").first.wait_for()
        page.locator("main .g, main .fp li").first.wait_for()
        if "step=" in path:
            page.locator(".drawer .effects").wait_for()
            page.locator(".why").wait_for()
        page.screenshot(path=folder / f"{name}.png")

    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
