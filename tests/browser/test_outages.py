"""Bad days: a server that restarts, a stream that breaks, two operators at once, hostile content.

The page says what happened, goes on by itself, and loses nothing that was entered.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.browser.conftest import ORPHAN, Guard, Site, opened, serving

BROKEN = "ERR_(CONNECTION_(REFUSED|RESET)|FAILED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)"


@pytest.fixture(scope="module")
def restarting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that a test may stop, and whose streams end after a second."""
    folder = tmp_path_factory.mktemp("restarting")
    config = '[server]\nlongest_stream = "1s"\n'
    with serving(f"sqlite:{folder}/tasker.db", folder, config=config) as site:
        site.register(ORPHAN)
        yield site


def test_what_was_entered_outlives_a_restart_of_the_server(
    browser: Any, restarting: Site, guard: Guard
) -> None:
    """A dialog that was open acts afterwards, and pages are current again without a reload."""
    guard.allow(BROKEN)
    task = restarting.create("shop.orphan")
    with opened(browser, restarting, guard) as page:
        form = page.context.new_page()
        guard.watch(form, restarting.origin)
        form.goto("workflows/shop/order?tab=submit")
        form.get_by_label("Order").fill("A-1")
        page.goto(f"tasks/{task}")
        mark = page.locator(".live button").first
        page.get_by_role("button", name="Cancel…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("1 step will not start").wait_for()
        dialog.get_by_label("Reason").fill("not needed")

        restarting.server.stop()
        mark.get_by_text(re.compile("Stale since|Reconnecting")).wait_for()
        dialog.get_by_role("button", name="Cancel 1 task").click()
        dialog.get_by_role("alert").get_by_text("The server is not responding").wait_for()
        form.get_by_role("button", name="Create 1 task").click()
        form.get_by_role("alert").get_by_text("The server is not responding").wait_for()

        restarting.server.start()
        mark.get_by_text("Live").wait_for()
        dialog.get_by_role("button", name="Cancel 1 task").click()
        page.locator(".hd").get_by_text("Cancelled").wait_for()
        form.get_by_role("button", name="Create 1 task").click()
        form.wait_for_url(re.compile("/ui/tasks/"))

    assert "not needed" == restarting.read(f"/v1/tasks/{task}/audit")[0]["reason"]
    created = restarting.read(f"/v1/tasks/{form.url.rsplit('/', 1)[1]}")
    assert "A-1" == created["context"]["order"]


def test_a_dialog_opened_during_an_outage_can_be_used_after_it(
    browser: Any, restarting: Site, guard: Guard
) -> None:
    """It requests the preview again."""
    guard.allow(BROKEN)
    task = restarting.create("shop.orphan")
    with opened(browser, restarting, guard) as page:
        page.goto(f"tasks/{task}")
        page.route("**/preview", lambda route: route.abort())
        page.get_by_role("button", name="Cancel…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("The server is not responding").wait_for()
        dialog.get_by_label("Reason").fill("not needed")
        page.unroute("**/preview")
        dialog.get_by_role("button", name="Cancel 1 task").click()
        page.locator(".hd").get_by_text("Cancelled").wait_for()


def test_a_page_without_its_stream_says_so_and_looks_by_itself(
    browser: Any, restarting: Site, guard: Guard
) -> None:
    """The stream comes back without a reload."""
    guard.allow(BROKEN)
    tasks = [restarting.create("shop.orphan") for _ in range(2)]
    with opened(browser, restarting, guard) as page:
        page.goto(f"tasks/{tasks[0]}")
        mark = page.locator(".live button").first
        mark.get_by_text("Live").wait_for()
        page.route("**/v1/stream**", lambda route: route.abort())
        mark.get_by_text("Reconnecting").wait_for()
        restarting.api.post(f"/v1/tasks/{tasks[0]}/pause", json={})
        page.locator(".why").get_by_text("paused by").first.wait_for()
        assert "Reconnecting" == mark.inner_text()
        page.unroute("**/v1/stream**")
        mark.get_by_text("Live").wait_for()


@pytest.mark.both_stores
def test_two_operators_at_once_do_not_undo_each_other(
    page: Any, site: Site, browser: Any, guard: Guard
) -> None:
    """The second is refused with the reason, keeps what was entered, and sees what is now."""
    guard.allow("status of (412|409)")
    task = site.create("shop.order", order="A-3", card="stolen")
    site.wait(task, "error")
    with opened(browser, site, guard) as other:
        for operator in (page, other):
            operator.goto(f"tasks/{task}?step=charge_card")
            operator.get_by_role("button", name="Set result…").click()
            dialog = operator.get_by_role("dialog")
            dialog.get_by_text("1 step after it can run").wait_for()
            dialog.get_by_label("Result as JSON").fill('{"charge": "by hand"}')
            dialog.get_by_label("Reason").fill("paid in cash")
        page.get_by_role("dialog").get_by_role("button", name="Set 1 result").click()
        page.locator(".hd").get_by_text("Complete").wait_for()

        dialog = other.get_by_role("dialog")
        dialog.get_by_role("button", name="Set 1 result").click()
        dialog.get_by_role("alert").wait_for()
        assert "paid in cash" == dialog.get_by_label("Reason").input_value()
        other.locator(".hd").get_by_text("Complete").wait_for()
    assert 1 == len(site.read(f"/v1/tasks/{task}/audit"))


def test_large_and_hostile_content_stays_text_and_inside_the_page(
    page: Any, site: Site, guard: Guard
) -> None:
    """Markup in titles, tags and inputs, a result of 1 MB, an error of 10,000 characters."""
    evil = '<img src=x onerror="alert(1)">{{7*7}}\u202e'
    answer = site.api.post(
        "/v1/tasks",
        json={
            "name": "shop.hostile", "context": {"text": evil},
            "tags": [evil], "correlation_id": evil, "reason": evil,
        },
    )  # fmt: skip
    assert 201 == answer.status_code, answer.text
    task = answer.json()["id"]
    site.wait(task, "error")
    page.set_viewport_size({"width": 390, "height": 780})
    for path in ("tasks", f"tasks?tag={evil}", "failures", "workflows", "workflows/shop/hostile"):
        page.goto(path)
        page.get_by_text("hostile").first.wait_for()
        assert 390 >= page.evaluate("document.documentElement.scrollWidth")
    for tab in ("overview", "input", "attempts"):
        page.goto(f"tasks/{task}?step=fail_at_length&tab={tab}")
        page.locator(".drawer").get_by_text(re.compile("<img src=x onerror")).first.wait_for()
        assert 390 >= page.evaluate("document.documentElement.scrollWidth")
    page.goto(f"tasks/{task}?step=answer_much&tab=result")
    page.locator(".drawer .json").wait_for()
    assert 2_000 > page.evaluate("document.querySelectorAll('.drawer .json *').length")
    assert 100_000 > page.evaluate("document.querySelector('.drawer .json').innerText.length")
    assert 0 == page.locator("main img, main script").count()
