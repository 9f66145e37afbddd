"""A task of 10,000 steps that are not of one shape: its page is usable soon, and stays smooth.

Budgets are for an idle machine; they grow by how long other processes keep this one waiting, and
what is over its budget is measured again, as a busy machine delays some tries and not others.
"""

import random
import re
import time
from typing import Any

import pytest
from bench.proc import contention
from tests.browser.conftest import Guard, Site, opened

WIDE = 100
DEEP = 100
STEPS = WIDE * DEEP
FRAME = 20.0  #: milliseconds, for 50 frames a second
BUDGETS = {
    "seconds until usable": 2.0,
    "seconds until selected": 0.1,
    "seconds until the graph": 2.0,
    "ms of the longest task": 200.0,
    "CPU ms of a frame scrolling": FRAME,
    "CPU ms of a frame panning": FRAME,
}
TRIES = 6  #: at most: each figure has to be within its budget once
LONG = 120.0  #: seconds for which it may take to make the task


def layered() -> dict[str, Any]:
    """Return a template of ranks whose steps depend on one or two of the rank before.

    A fifth of the steps has a handler.
    """
    chance = random.Random(1)
    steps = []
    for no in range(STEPS):
        rank, place = divmod(no, WIDE)
        above = {(place + by) % WIDE for by in (0, chance.choice([0, 1, 7]))} if rank else set()
        step = {
            "name": f"s{no}",
            "handler": {"callable": "process_row" if rank < DEEP // 5 else "nobody"},
            "dependencies": [f"s{(rank - 1) * WIDE + parent}" for parent in sorted(above)],
        }
        steps.append(step)
    return {"name": "layered", "namespace_name": "shop", "version": "1.0.0", "steps": steps}


OBSERVE = """
window.longest = 0
new PerformanceObserver(list => {
  for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration)
}).observe({type: "longtask", buffered: true})
"""

FRAMES = """
async () => {
  for (let n = 0; n < 60; n++) {
    window.move(n)
    await new Promise(requestAnimationFrame)
  }
}
"""

SCROLL = "() => { window.move = n => document.querySelector('.tl').scrollTop = n * 900 }"
PAN = """() => {
  const box = document.querySelector('.canvas')
  const fire = (kind, x) => box.dispatchEvent(
    new PointerEvent(kind, {bubbles: true, pointerId: 1, clientX: x, clientY: 400}))
  box.setPointerCapture = () => {}
  fire('pointerdown', 600)
  window.move = n => fire('pointermove', 600 + n * 4)
}"""


@pytest.fixture(scope="module")
def large(sqlite_site: Site) -> str:
    answer = sqlite_site.api.post("/v1/templates", json=layered(), timeout=LONG)
    assert 201 == answer.status_code, answer.text
    body = {"name": "shop.layered", "context": {}}
    task: str = sqlite_site.api.post("/v1/tasks", json=body, timeout=LONG).json()["id"]
    end = time.monotonic() + LONG
    while 500 > sqlite_site.read(f"/v1/tasks/{task}/snapshot")["task"]["counts"]["complete"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    return task


def frame_ms(page: Any, cdp: Any, movement: str) -> float:
    """Return the mean CPU time of the page's thread for a frame of a movement."""

    def busy() -> float:
        metrics = cdp.send("Performance.getMetrics")["metrics"]
        return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")

    page.evaluate(movement)
    before = busy()
    page.evaluate(FRAMES)
    return (busy() - before) * 1000 / 60


def measure(page: Any, cdp: Any, task: str) -> dict[str, float]:
    """Open the page of a task, move and select on it, and return what each took."""
    page.goto("settings")
    page.locator("main h1, main h2").first.wait_for()
    start = time.perf_counter()
    page.goto(f"tasks/{task}")
    page.locator(".tl-row[data-step=s0]").click()
    page.locator(".drawer h2", has_text="s0").wait_for()
    took = {"seconds until usable": time.perf_counter() - start}
    took["CPU ms of a frame scrolling"] = frame_ms(page, cdp, SCROLL)
    start = time.perf_counter()
    page.keyboard.press("j")
    page.locator(".drawer h2", has_text=re.compile("^s1$")).wait_for()
    took["seconds until selected"] = time.perf_counter() - start

    start = time.perf_counter()
    page.goto(f"tasks/{task}?view=graph")
    page.locator("canvas.dag").wait_for()
    took["seconds until the graph"] = time.perf_counter() - start
    took["CPU ms of a frame panning"] = frame_ms(page, cdp, PAN)
    took["ms of the longest task"] = page.evaluate("window.longest")
    return took


def test_the_page_of_10_000_steps_is_usable_within_two_seconds(
    browser: Any, sqlite_site: Site, large: str, guard: Guard
) -> None:
    """Its first row can be selected; scrolling, panning and selecting stay smooth."""
    best: dict[str, float] = {}
    with opened(browser, sqlite_site, guard) as page:
        cdp = page.context.new_cdp_session(page)
        cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.add_init_script(OBSERVE)
        for _ in range(TRIES):
            slow = contention()
            took = measure(page, cdp, large)
            slow = max(slow, contention())
            for name, budget in BUDGETS.items():
                parts = took[name] / (budget if name.startswith("CPU") else budget * slow)
                best[name] = min(best.get(name, parts), parts)
            figures = ", ".join(f"{value:.3g} {name}" for name, value in took.items())
            print(f"\n{STEPS:,} steps, {slow:.1f} times slower than idle: {figures}")
            if max(best.values()) < 1:
                break
    over = {name: f"{parts:.2f} of the budget" for name, parts in best.items() if parts >= 1}
    assert {} == over, f"in each of {TRIES} tries"
