"""Pictures of the pages, compared with those in `docs/images/ui`.

The pages show recorded responses at a fixed time. Pictures are compared where Chromium and the
fonts are those with which the kept ones were made (`browser.json`); elsewhere they are made and
reported as not compared. `make pictures` makes them again; with `RECORD=1` it records the responses
again too.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.browser.conftest import ROOT, SOON, Guard, Site, opened
from tests.browser.recordings import Recording

Image = pytest.importorskip("PIL.Image", reason="make test-ui installs it")
ImageChops = pytest.importorskip("PIL.ImageChops", reason="make test-ui installs it")

RECORDING = Path(__file__).parent / "pictures" / "responses.json"
MADE_WITH = Path(__file__).parent / "pictures" / "browser.json"
KEPT = ROOT / "docs" / "images" / "ui"
MADE = ROOT / ".cache" / "pictures"  #: where pictures are left that differ or are not compared
PAGES = [
    "home", "tasks", "task", "map", "failures", "approvals", "workflows", "workflow", "schedules",
    "limits", "workers", "namespace",
]  # fmt: skip
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
NOTICEABLE = 24  #: of 255, in one colour of a pixel
ALLOWED = 0.001  #: of the pixels of a picture
PAUSE = 0.2  #: seconds between two pictures of a page
STILL = 15  #: equal pictures in a row show that nothing more is loaded
LOADED = "main h1, main .panel"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.load(RECORDING)


@pytest.fixture(scope="module")
def made_with(browser: Any) -> dict[str, Any]:
    """Return what pictures depend on besides the pages: the browser and the fonts."""
    listed = subprocess.run(
        ["fc-list", "--format", "%{file}\n"], capture_output=True, text=True, check=False
    )
    files = sorted({Path(line) for line in listed.stdout.splitlines()})
    fonts = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}
    return {"chromium": browser.version, "fonts": fonts}


def differing(made: Any, kept: Any) -> float:
    """Return the part of the pixels that differ noticeably."""
    if made.size != kept.size:
        return 1.0
    colours = ImageChops.difference(made, kept).split()
    most = colours[0]
    for colour in colours[1:]:
        most = ImageChops.lighter(most, colour)
    noticed: int = sum(most.histogram()[NOTICEABLE:])
    pixels: int = made.width * made.height
    return noticed / pixels


def taken(page: Any, *, still: bool) -> Iterator[Any]:
    """Take pictures of a page for as long as `SOON`, or until it has been `still` for a while."""
    before, equal = None, 0
    for _ in range(int(SOON / PAUSE)):
        image = Image.open(BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        yield image
        equal = equal + 1 if before is not None and not differing(image, before) else 0
        if still and equal >= STILL:
            return
        before = image
        page.wait_for_timeout(PAUSE * 1000)


def save(image: Any, file: Path) -> None:
    """Write a picture in few bytes: with 256 colours, unless one can tell."""
    file.parent.mkdir(parents=True, exist_ok=True)
    few = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    same = differing(few.convert("RGB"), image) == 0
    (few if same else image).save(file, optimize=True)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_pages_look_like_the_kept_pictures(
    browser: Any,
    site: Site,
    guard: Guard,
    recording: Recording,
    made_with: dict[str, Any],
    name: str,
    look: str,
) -> None:
    """At most one pixel of a thousand differs."""
    file = KEPT / f"{name}-{look}.png"
    options = {"timezone_id": "UTC", "locale": "en-GB", **LOOKS[look]}
    remake = os.environ.get("TASKER_TEST_PICTURES") == "remake"
    comparable = not remake and json.loads(MADE_WITH.read_text()) == made_with
    kept = Image.open(file).convert("RGB") if comparable else None
    with opened(browser, site, guard, **options) as page, recording.replayed(page):
        page.goto(recording.pages[name])
        page.locator(LOADED).first.wait_for()
        page.evaluate("document.fonts.ready")
        image, part = None, 1.0
        for image in taken(page, still=kept is None):
            if kept is not None and (part := differing(image, kept)) <= ALLOWED:
                return
    if remake:
        save(image, file)
        MADE_WITH.write_text(json.dumps(made_with, indent=1) + "\n")
        return
    save(image, MADE / file.name)
    if not comparable:
        pytest.skip(f"not compared: {file.name} was made with another Chromium or other fonts")
    pytest.fail(f"{part:.2%} of {MADE / file.name} differ from {file}; `make pictures` if intended")
