"""Each page, with all that it shows: what it says, and whether everyone can use it."""

import re
from typing import Any

import pytest
from tests.browser.conftest import TASKS, Guard, Site, opened, violations

PAGES = [
    "tasks",
    "tasks?status=complete",
    "task complete",
    "task failed",
    "task retry",
    "task many",
    "",
    "failures",
    "workflows",
    "workflows/shop/order",
    "workflows/shop/order?tab=submit",
    "workflows/shop/order?tab=versions",
    "workflows/shop/order?tab=call",
    "workers",
    "namespaces",
    "namespaces/shop",
    "nothing",
]


def address(name: str) -> str:
    """Return the address of a page below the UI."""
    return f"tasks/{TASKS[name[5:]]}" if name.startswith("task ") else name


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_used_by_everyone(
    browser: Any, site: Site, guard: Guard, name: str, theme: str
) -> None:
    """axe-core finds nothing, in either theme, with a step selected where there are steps."""
    with opened(browser, site, guard, color_scheme=theme) as page:
        page.goto(address(name))
        page.wait_for_load_state("networkidle") if "retry" not in name else None
        if name.startswith("task "):
            page.locator(".node").first.click()
            page.get_by_role("tab", name="Overview").wait_for()
        page.locator("main h1, main h2").first.wait_for()

        assert [] == violations(page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(browser: Any, site: Site, guard: Guard, name: str) -> None:
    """Nothing reaches beyond the edge of a screen of 320 pixels."""
    with opened(browser, site, guard, viewport={"width": 320, "height": 640}) as page:
        page.goto(address(name))
        page.locator("main h1, main h2").first.wait_for()

        assert 320 >= page.evaluate("document.documentElement.scrollWidth")


def test_the_list_of_tasks_is_filtered_by_its_address(page: Any, site: Site) -> None:
    """Typing a filter changes the address, and the address shows the filter."""
    page.goto("tasks?status=error")
    page.locator("tbody tr").first.wait_for()
    assert all("Failed" in row for row in page.locator("tbody tr").all_inner_texts())

    page.keyboard.press("/")
    page.keyboard.type("error code: CARD_REFUSED")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"error_code=CARD_REFUSED"))
    page.get_by_text("1 in all").wait_for()
    page.go_back()
    page.get_by_text("2 in all").wait_for()


def test_filters_that_exclude_everything_are_offered_to_be_dropped(page: Any) -> None:
    page.goto("tasks?status=error&name=none")
    page.get_by_role("button", name="Drop workflow none").click()
    page.locator("tbody tr").first.wait_for()


def test_a_list_is_walked_by_keys(page: Any) -> None:
    """j goes on, Enter opens, g t comes back."""
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    opened = page.locator("tr.cur").get_attribute("id").removeprefix("task-")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(opened))
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.locator("tbody tr").first.wait_for()


def test_new_tasks_appear_by_themselves(page: Any, site: Site) -> None:
    page.goto("tasks?tag=none&created_by=anonymous")
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    task = site.create("shop.order", order="live")
    page.locator(f"#task-{task}").wait_for()


def test_one_step_is_selected_in_all_views(page: Any) -> None:
    """And the address carries it."""
    page.goto(f"tasks/{TASKS['complete']}")
    page.locator(".node[data-step=charge_card]").click()
    page.wait_for_url(re.compile("step=charge_card"))
    page.locator(".tl-row.sel[data-step=charge_card]").wait_for()
    page.keyboard.press("4")
    page.locator("tr.cur[data-step=charge_card]").wait_for()
    page.reload()
    page.locator("tr.cur[data-step=charge_card]").wait_for()
    page.get_by_role("tab", name="Result").click()
    page.get_by_text("ch_1").wait_for()
    page.keyboard.press("Escape")
    page.locator(".drawer").wait_for(state="detached")


def test_a_task_says_why_it_waits(page: Any) -> None:
    """In one sentence, with the time that is left."""
    page.goto(f"tasks/{TASKS['retry']}")
    banner = page.locator(".why")
    banner.get_by_text("charge_card waits for attempt 2 of 3.").wait_for()
    assert re.search(r"\d+:\d\d", banner.locator(".count").inner_text())

    page.goto(f"tasks/{TASKS['orphan']}")
    page.locator(".why").get_by_text("nobody is ready, but").wait_for()


def test_a_failed_step_is_given_a_result_after_its_consequences_were_shown(
    page: Any, site: Site
) -> None:
    """The act has a reason, and the audit keeps it."""
    task = site.create("shop.order", order="A-9", card="stolen")
    site.wait(task, "error")
    page.goto(f"tasks/{task}?step=charge_card")
    page.get_by_role("button", name="Set result…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 step behind it can run").wait_for()
    button = dialog.get_by_role("button", name="Set 1 result")
    assert "true" == button.get_attribute("aria-disabled")
    dialog.get_by_label("Result, as JSON").fill('{"charge": "by hand"}')
    dialog.get_by_label("Reason").fill("paid in cash")
    assert [] == violations(page)
    button.click()
    dialog.wait_for(state="detached")

    page.locator(".hd").get_by_text("Complete").wait_for()
    assert "complete" == site.wait(task, "complete")["status"]
    (entry,) = site.read(f"/v1/tasks/{task}/audit")
    assert ("complete_step", "paid in cash") == (entry["action"], entry["reason"])


def test_an_open_task_is_paused_and_cancelled(page: Any, site: Site) -> None:
    """A cancellation needs a reason; afterwards nothing can be done any more."""
    task = site.create("shop.orphan")
    page.goto(f"tasks/{task}")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause 1 task").click()
    page.locator(".why").get_by_text("paused by").first.wait_for()
    page.keyboard.press("c")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("not needed")
    dialog.get_by_role("button", name="Cancel 1 task").click()
    page.locator(".hd").get_by_text("Cancelled").wait_for()


def test_many_steps_of_one_shape_are_one_node(page: Any) -> None:
    """Which lists its steps on demand."""
    page.goto(f"tasks/{TASKS['many']}")
    page.locator(".node.many").click()
    page.locator(".drawer").get_by_text("400 steps of one shape").wait_for()
    assert 3 == page.locator(".node").count()
    page.get_by_role("button", name="List its steps").click()
    page.get_by_role("button", name="row_0", exact=True).wait_for()

    assert 100 > page.locator("tbody tr").count()


def test_all_tasks_that_one_cause_stopped_are_retried_at_once(page: Any, site: Site) -> None:
    """From the list of causes, which they then leave."""
    tasks = [site.create("shop.order", order="B", card="lost") for _ in range(2)]
    for task in tasks:
        site.wait(task, "error")
    page.goto("failures")
    page.get_by_text("the card was reported lost").first.wait_for()
    page.get_by_role("button", name="Retry 2 tasks stopped by CARD_LOST").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("cards were found")
    dialog.get_by_role("button", name="Retry 2 tasks").click()
    dialog.wait_for(state="detached")

    for task in tasks:
        read = site.wait(task, "error")
        assert 2 == next(one for one in read["steps"] if one["name"] == "charge_card")["attempts"]


def test_selected_tasks_are_cancelled_at_once(page: Any, site: Site) -> None:
    """With x from the keyboard; the others stay as they are."""
    tasks = [site.create("shop.orphan") for _ in range(2)]
    page.goto("tasks?name=orphan")
    page.locator(f"#task-{tasks[1]}").wait_for()
    for key in "jxjx":
        page.keyboard.press(key)
    page.get_by_role("toolbar").get_by_text("2 selected").wait_for()
    page.get_by_role("toolbar").get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("a test")
    assert [] == violations(page)
    dialog.get_by_role("button", name="Cancel 2 tasks").click()
    dialog.wait_for(state="detached")

    assert ["cancelled"] * 2 == [site.wait(task, "cancelled")["status"] for task in tasks]


def test_a_task_is_submitted_by_a_form(page: Any, site: Site, guard: Guard) -> None:
    """Made from the schema; what is wrong is said beside the field, and nothing entered is lost."""
    guard.allow("status of 400")  # the amount
    page.goto("../admin/workflows")
    page.wait_for_url(re.compile("/ui/workflows$"))
    page.get_by_role("link", name="New task of order").click()
    page.get_by_label("amount").fill("-1")
    page.get_by_role("button", name="Create 1 task").click()
    page.get_by_text("is required").wait_for()
    page.get_by_label("Order").fill("A-77")
    page.get_by_role("button", name="Create 1 task").click()
    page.get_by_role("alert").wait_for()
    assert "A-77" == page.get_by_label("Order").input_value()
    page.get_by_label("amount").fill("12.5")
    page.get_by_role("button", name="Create 1 task").click()
    page.wait_for_url(re.compile("/ui/tasks/"))
    page.locator(".hd").get_by_text("Complete").wait_for()

    task = site.read(f"/v1/tasks/{page.url.rsplit('/', 1)[1]}")
    assert {"order": "A-77", "card": "good", "amount": 12.5} == task["context"]


def test_markup_is_shown_as_text(page: Any) -> None:
    """In names, errors and inputs; the browser would refuse anything else."""
    page.goto(f"tasks/{TASKS['markup']}")
    page.locator(".node").click()
    page.locator(".drawer").get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    page.get_by_role("tab", name="Input").click()
    page.locator(".json").first.wait_for()

    assert 0 == page.locator("main img").count()


def test_a_task_that_does_not_exist_says_so(page: Any, guard: Guard) -> None:
    guard.allow(r"status of 404")
    page.goto("tasks/01a00000-0000-7000-8000-000000000000")
    page.get_by_role("heading", name="Not found").wait_for()
    assert [] == violations(page)


def test_the_palette_goes_anywhere(page: Any) -> None:
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("Control+k")
    page.keyboard.type("failed")
    assert [] == violations(page)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("status=error"))


def test_a_theme_is_kept(page: Any) -> None:
    page.goto("tasks")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.reload()
    page.locator("tbody tr").first.wait_for()

    assert "dark" == page.evaluate("document.documentElement.dataset.theme")
