"""Each page, with all that it shows: what it says, and whether everyone can use it."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.browser.conftest import Guard, Site, violations

PAGES = [
    "tasks",
    "tasks?status=complete",
    "tasks/new",
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
    "workflows/shop/order?tab=diff",
    "approvals?show=all",
    "approvals?show=decided",
    "schedules",
    "schedules/shop/refund.nightly",
    "limits",
    "events",
    "workers",
    "namespaces",
    "namespaces/shop",
    "audit",
    "settings",
    "nothing",
]


def address(site: Site, name: str) -> str:
    """Return the address of a page below the UI."""
    return f"tasks/{site.tasks[name[5:]]}" if name.startswith("task ") else name


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible(page: Any, site: Site, name: str) -> None:
    """axe-core finds nothing in either theme, and nothing reaches beyond a narrow screen's edge."""
    page.goto(address(site, name))
    page.wait_for_load_state("networkidle") if "retry" not in name else None
    page.locator("main h1, main h2").first.wait_for()
    if name.startswith("task "):
        page.locator(".node").first.click()
        page.get_by_role("tab", name="Overview").wait_for()
    light = violations(page)
    page.emulate_media(color_scheme="dark")
    dark = violations(page)
    page.set_viewport_size({"width": 320, "height": 640})

    assert ([], []) == (light, dark)
    assert 320 >= page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.both_stores
def test_the_filter_of_the_list_of_tasks_is_in_its_address(page: Any, site: Site) -> None:
    """Typing a filter changes the address, and the address shows the filter."""
    page.goto("tasks?status=error")
    page.locator("tbody tr").first.wait_for()
    assert all("Failed" in row for row in page.locator("tbody tr").all_inner_texts())

    page.keyboard.press("/")
    page.keyboard.type("error code: CARD_REFUSED")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"error_code=CARD_REFUSED"))
    page.get_by_text("1 in total").wait_for()
    page.locator(".states", has_text="Failed 1").get_by_text("All 1").wait_for()
    page.go_back()
    page.get_by_text("2 in total").wait_for()


def test_filters_that_match_nothing_can_be_removed(page: Any) -> None:
    page.goto("tasks?status=error&name=none")
    page.get_by_role("button", name="Remove filter: workflow none").click()
    page.locator("tbody tr").first.wait_for()


def test_views_of_the_list_of_tasks_are_saved_in_the_browser(page: Any) -> None:
    """Under a name; the menu shows which view is open, and opens and deletes them."""
    page.goto("tasks?status=error")
    page.get_by_role("button", name="Saved views").click()
    field = page.get_by_label("Save the current filters as")
    assert [] == violations(page)
    field.fill("Needs me")
    page.get_by_role("button", name="Save", exact=True).click()

    page.get_by_role("button", name="Needs me", exact=True).wait_for()
    page.goto("tasks")
    page.get_by_role("button", name="Saved views").click()
    page.get_by_text("Choose a filter or a status first.").wait_for()
    assert [] == violations(page)
    page.get_by_role("link", name="Needs me").click()
    page.wait_for_url(re.compile(r"/tasks\?status=error$"))
    page.get_by_role("button", name="Needs me", exact=True).click()
    page.keyboard.press("Escape")
    field.wait_for(state="detached")
    page.keyboard.press("Enter")  # the focus is on the button again
    page.get_by_role("button", name="Delete the view Needs me").click()
    page.get_by_role("link", name="Needs me").wait_for(state="detached")
    page.reload()
    page.get_by_role("button", name="Saved views").wait_for()


def test_a_task_is_copied_as_a_command_and_as_json(page: Any, site: Site) -> None:
    """The menu beside the actions of a task; the JSON is what the API returns to the viewer."""
    task = site.tasks["complete"]
    page.goto(f"tasks/{task}")
    page.locator(".node").first.wait_for()
    copied: dict[str, str] = {}
    for kind in ("CLI", "curl", "JSON"):
        page.get_by_role("button", name="More").click()
        assert [] == violations(page)
        page.evaluate("navigator.clipboard.writeText('')")
        page.get_by_role("button", name=f"Copy as {kind}").click()
        while not copied.get(kind):  # until the test's time limit
            copied[kind] = page.evaluate("navigator.clipboard.readText()")

    assert f"tasker task show {task}" == copied["CLI"]
    assert copied["curl"].startswith(f"curl {site.url}/v1/tasks/{task} -H ")
    assert site.read(f"/v1/tasks/{task}") == json.loads(copied["JSON"])


def test_a_list_can_be_navigated_with_the_keyboard(page: Any) -> None:
    """j goes on, Enter opens, g t comes back."""
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    opened = page.locator("tr.cur").get_attribute("id").removeprefix("task-")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(opened))
    page.locator(".node").first.wait_for()
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.locator("tbody tr").first.wait_for()


def test_enter_activates_the_button_that_has_the_focus(page: Any) -> None:
    """Also where it otherwise opens the current task."""
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("j")
    page.get_by_role("link", name="New task").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/tasks/new$"))


@pytest.mark.both_stores
def test_new_tasks_appear_without_reloading(page: Any, site: Site) -> None:
    page.goto("tasks?tag=none&created_by=anonymous")
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    task = site.create("shop.order", order="live")
    page.locator(f"#task-{task}").wait_for()


def test_selecting_a_step_selects_it_in_all_views(page: Any, site: Site) -> None:
    """The selection is in the address."""
    page.goto(f"tasks/{site.tasks['complete']}")
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


@pytest.mark.both_stores
def test_a_task_explains_why_it_waits(page: Any, site: Site) -> None:
    """In one sentence, with the time that is left."""
    page.goto(f"tasks/{site.tasks['retry']}")
    banner = page.locator(".why")
    banner.get_by_text("charge_card waits for attempt 2 of 3.").wait_for()
    assert re.search(r"\d+:\d\d", banner.locator(".count").inner_text())

    page.goto(f"tasks/{site.tasks['orphan']}")
    page.locator(".why").get_by_text("nobody is ready, but").wait_for()


def test_a_failed_step_is_resolved_after_a_preview_of_the_consequences(
    page: Any, site: Site
) -> None:
    """The act has a reason, and the audit keeps it."""
    task = site.create("shop.order", order="A-9", card="stolen")
    site.wait(task, "error")
    page.goto(f"tasks/{task}?step=charge_card")
    page.locator(".why").get_by_text("reported stolen. 1 step pending.").wait_for()
    page.get_by_role("button", name="Set result…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 step after it can run").wait_for()
    button = dialog.get_by_role("button", name="Set 1 result")
    assert "true" == button.get_attribute("aria-disabled")
    dialog.get_by_label("Result as JSON").fill('{"charge": "by hand"}')
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


def test_many_similar_steps_are_one_node(page: Any, site: Site) -> None:
    """The node lists its steps on request."""
    page.goto(f"tasks/{site.tasks['many']}")
    page.locator(".node.many").click()
    page.locator(".drawer").get_by_text("400 identical steps").wait_for()
    assert 3 == page.locator(".node").count()
    page.get_by_role("button", name="List its steps").click()
    page.get_by_role("button", name="row_0", exact=True).wait_for()

    assert 100 > page.locator("tbody tr").count()


@pytest.mark.both_stores
def test_all_tasks_that_failed_for_one_cause_are_retried_together(page: Any, site: Site) -> None:
    """They are then removed from the list of causes."""
    tasks = [site.create("shop.order", order="B", card="lost") for _ in range(2)]
    for task in tasks:
        site.wait(task, "error")
    page.goto("failures")
    page.get_by_text("the card was reported lost").first.wait_for()
    page.get_by_role("button", name="Retry 2 tasks that failed with CARD_LOST").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("cards were found")
    dialog.get_by_text("Affects 2 tasks of shop.order.").wait_for()
    dialog.get_by_role("button", name="Retry 2 tasks").click()
    dialog.wait_for(state="detached")
    page.get_by_text("2 tasks retried").wait_for()

    for task in tasks:
        read = site.wait(task, "error")
        assert 2 == next(one for one in read["steps"] if one["name"] == "charge_card")["attempts"]


@pytest.mark.both_stores
def test_selected_tasks_are_cancelled_together(page: Any, site: Site) -> None:
    """They are selected with x on the keyboard; other tasks are not changed."""
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


def test_all_tasks_that_match_are_cancelled_until_somebody_stops_it(page: Any, site: Site) -> None:
    """The page shows what is done, and its outcome until it is dismissed."""
    for _ in range(3):
        site.create("shop.orphan")
    page.goto("tasks?name=orphan&status=pending")
    page.locator("tbody tr input").first.check()
    toolbar = page.get_by_role("toolbar")
    toolbar.get_by_role("button", name="All that match").click()
    toolbar.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Tasks per second").fill("0.01")
    dialog.get_by_label("Reason").fill("a test")
    dialog.get_by_text("tasks of shop.orphan.").wait_for()
    dialog.get_by_role("button", name="Cancel all that match").click()

    operation = page.get_by_role("region", name="Operations on many tasks")
    operation.get_by_text("1 done, at most 0.01 a second").wait_for()
    assert [] == violations(page)
    operation.get_by_role("button", name="Stop…").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop 1 operation").click()
    operation.get_by_text("1 task cancelled, then stopped by anonymous").wait_for()
    operation.get_by_role("button", name="Dismiss").click()
    operation.wait_for(state="detached")


def test_a_worker_shows_what_it_serves(page: Any, site: Site) -> None:
    page.goto("workers")
    page.locator("tbody tr a.wf", has_not_text=":server").first.click()
    page.wait_for_url(re.compile(r"workers/\d+"))
    page.get_by_text("served by").wait_for()
    page.locator("tbody tr", has_text="charge_card").first.wait_for()
    assert [] == violations(page)
    page.get_by_role("button", name="Drain…").click()
    page.get_by_role("dialog").get_by_text("The worker claims no more steps.").wait_for()


def test_usual_durations_are_shown_beside_those_of_a_task(page: Any, site: Site) -> None:
    page.goto(f"tasks/{site.tasks['complete']}?view=timeline")
    page.get_by_text("usual duration").wait_for()
    page.locator(".tl-row", has_text="charge_card").click()
    page.locator("dt", has_text="Usually").wait_for()
    page.goto("workflows/shop/order")
    page.get_by_text("in the newest").wait_for()


def test_a_workflow_shows_what_its_steps_declare(page: Any, site: Site) -> None:
    page.goto("workflows/shop/handover")
    for row, text in {
        "check_order": "check_order for each of input.orders",
        "agree": "approval by role:managers, up to 24 h",
        "send_parcel": "5 attempts, exponential from 2 s",
    }.items():
        page.locator("tbody tr", has=page.get_by_role("button", name=row)).get_by_text(
            text
        ).wait_for()
    page.locator("tbody tr").get_by_text("when input.total > 100").wait_for()
    page.locator("tbody tr").get_by_text("limit warehouse: 50/s; limit: 2 running").wait_for()
    page.get_by_text("limit handover: 5 running").wait_for()
    page.get_by_text("0 0 1 1 * Europe/Berlin").wait_for()
    page.get_by_text("dashed steps may be skipped").wait_for()
    assert [] == violations(page)
    page.get_by_role("link", name="yearly").click()
    page.wait_for_url(re.compile(r"/schedules\?namespace=shop"))


def test_long_names_end_inside_their_nodes(page: Any, site: Site) -> None:
    """The whole name is the title of the node."""
    name = "WWW_METHOD_NOT_REFUNDABLE_MMM"
    site.register(f"name: long\nnamespace_name: named\nversion: 1.0.0\nsteps:\n  - name: {name}\n")
    page.goto("workflows/named/long")
    node = page.locator(f".node[data-step={name}]")
    node.wait_for()

    end = "boxes => Math.max(...boxes.map(box => box.getBBox().x + box.getBBox().width))"
    assert node.locator("text").evaluate_all(end) <= node.locator(".box").evaluate_all(end)
    assert "…" in node.locator(".nm").inner_html()
    assert name in node.locator("title").inner_html()


def test_a_task_is_submitted_with_a_form(page: Any, site: Site, guard: Guard) -> None:
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


def test_a_new_task_is_one_click_from_the_list(page: Any, site: Site) -> None:
    """Its workflow is chosen by name; the address says which."""
    page.goto("tasks")
    page.get_by_role("link", name="New task").click()
    page.get_by_label("Filter by name").fill("shop.ord")
    page.get_by_role("link", name="shop.order").click()
    page.wait_for_url(re.compile(r"tasks/new\?workflow=shop\.order$"))

    page.get_by_label("Order").fill("A-78")
    page.get_by_role("button", name="Create 1 task").click()

    page.wait_for_url(re.compile("/ui/tasks/[0-9a-f]{8}-"))
    task = site.read(f"/v1/tasks/{page.url.rsplit('/', 1)[1]}")
    assert "A-78" == task["context"]["order"]


def test_a_span_is_chosen_where_tasks_were_created(page: Any) -> None:
    """It becomes a filter, which can be dropped."""
    start = (datetime.now(UTC) - timedelta(hours=24)).replace(second=0, microsecond=0)

    def respond(body: dict[str, Any], route: Any) -> None:
        route.fulfill(json=body)

    chart = {"start": start.isoformat(), "step_seconds": 900, "points": 96}
    for metric, values in (("created", [3] * 96), ("failed", [0] * 95 + [1])):
        body = {**chart, "series": [{"key": "", "values": values}], "as_of": start.isoformat()}
        page.route(
            f"**/v1/analytics/series?metric={metric}&**",
            partial(respond, body),
        )
    page.goto("tasks")
    bars = page.get_by_role("img", name="288 tasks created and 1 failed")
    bars.wait_for()

    box = bars.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.up()

    page.get_by_text("No task matches all filters").wait_for()
    query = parse_qs(urlsplit(page.url).query)
    span = (datetime.fromisoformat(query[f"created_{end}"][0]) for end in ("after", "before"))
    chosen = [(one - start) / timedelta(hours=1) for one in span]
    assert [6, 12.25] == chosen
    page.get_by_role("button", name="Remove the filter created").click()
    page.locator("tbody tr").first.wait_for()


def test_the_usual_durations_are_asked_for_once(page: Any, site: Site) -> None:
    """Although several parts of a page show them."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"tasks/{site.tasks['complete']}?step=charge_card")
    page.locator("dt", has_text="Usually").wait_for()
    page.get_by_text("usual duration").wait_for()

    assert 1 == len([url for url in asked if url.endswith("/durations")])


def test_a_span_of_the_timeline_is_enlarged(page: Any, site: Site) -> None:
    """By dragging over its axis; the whole time is one click away."""
    page.goto(f"tasks/{site.tasks['complete']}?view=timeline")
    page.locator(".tl-row").first.wait_for()
    box = page.locator(".tl-head svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 10)
    page.mouse.up()

    page.get_by_role("button", name="Reset zoom").click()

    page.get_by_role("button", name="Reset zoom").wait_for(state="detached")


def test_a_range_of_tasks_is_selected_with_the_keyboard(page: Any) -> None:
    """From the task that was selected last to the current one."""
    page.goto("tasks")
    page.locator("tbody tr").nth(3).wait_for()
    for key in ("j", "x", "j", "j", "Shift+X"):
        page.keyboard.press(key)
    page.get_by_text("3 selected").wait_for()


def test_a_task_is_shown_as_of_an_earlier_time(page: Any, site: Site) -> None:
    """The address keeps the time; a slider moves it."""
    task = site.read(f"/v1/tasks/{site.tasks['failed']}")
    page.goto(f"tasks/{task['id']}?at={quote(task['created_at'])}")
    page.get_by_text("As of").first.wait_for()
    page.locator(".tl-row[data-step=charge_card]", has_text="–").wait_for()
    assert [] == violations(page)

    page.get_by_role("button", name="Back to now").click()
    page.get_by_text("failed permanently").wait_for()
    page.get_by_role("slider", name="As of").press("ArrowLeft")
    page.get_by_role("button", name="Back to now").wait_for()

    assert "at" in parse_qs(urlsplit(page.url).query)


def test_markup_is_escaped(page: Any, site: Site) -> None:
    """In names, errors and inputs; the browser would refuse anything else."""
    page.goto(f"tasks/{site.tasks['markup']}")
    page.locator(".node").click()
    page.locator(".drawer").get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    page.get_by_role("tab", name="Input").click()
    page.locator(".json").first.wait_for()

    assert 0 == page.locator("main img").count()


def test_a_missing_task_is_reported(page: Any, guard: Guard) -> None:
    guard.allow(r"status of 404")
    page.goto("tasks/01a00000-0000-7000-8000-000000000000")
    page.get_by_role("heading", name="Not found").wait_for()
    assert [] == violations(page)


@pytest.mark.both_stores
def test_the_palette_opens_every_page(page: Any, site: Site) -> None:
    page.goto("tasks")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("Control+k")
    page.locator(".palette input:focus").wait_for()
    page.keyboard.type(site.tasks["failed"][:20])
    page.get_by_role("option", name="shop.order").wait_for()
    page.get_by_role("combobox", name="Search or jump to").fill("failed")
    assert [] == violations(page)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("status=error"))


def test_a_theme_is_stored_in_the_browser(page: Any) -> None:
    page.goto("tasks")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.reload()
    page.locator("tbody tr").first.wait_for()

    assert "dark" == page.evaluate("document.documentElement.dataset.theme")


def test_a_large_graph_has_a_minimap_and_can_be_exported(page: Any, site: Site) -> None:
    """A click on the map goes there; files contain all steps, also those out of sight."""
    steps = [
        f"  - {{name: s{no}, dependencies: [{f's{no - 1}' if no else ''}]}}" for no in range(120)
    ]
    head = "name: long\nnamespace_name: shop\nversion: 1.0.0\nsteps:\n"
    site.register(head + "\n".join(steps) + "\n")
    page.goto(f"tasks/{site.create('shop.long')}?view=graph")
    page.locator(".node[data-step=s0]").wait_for()
    page.locator(".minimap").click(position={"x": 165, "y": 1})
    page.locator(".node[data-step=s118]").wait_for()
    for name, beginning in (("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("Mermaid", b"flowchart LR")):
        page.get_by_role("button", name="Save the graph").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        saved = download.value.path().read_bytes()
        assert saved.startswith(beginning)
        assert name == "PNG" or 120 == len(set(re.findall(rb"\bs\d+\b", saved)))


def test_all_tabs_of_a_browser_share_one_stream(page: Any, site: Site, guard: Guard) -> None:
    """A task of either tab is shown as it ends; when the leading tab is closed, the other leads."""
    streams: list[str] = []
    page.context.on("request", lambda one: streams.append(one.url) if "stream" in one.url else None)
    other = page.context.new_page()
    guard.watch(other, site.origin)
    tasks = [site.create("shop.orphan") for _ in range(3)]
    for tab, task in ((page, tasks[0]), (other, tasks[1])):
        tab.goto(f"tasks/{task}")
        tab.locator(".why").wait_for()
    with page.expect_request(lambda one: all(task in one.url for task in tasks[:2])):
        other.reload()
    for tab, task in ((page, tasks[0]), (other, tasks[1])):
        site.api.post(f"/v1/tasks/{task}/cancel", json={})
        tab.locator(".hd").get_by_text("Cancelled").wait_for()
    page.close()
    with other.expect_request(lambda one: "/v1/stream" in one.url and tasks[2] in one.url):
        other.goto(f"tasks/{tasks[2]}")
    site.api.post(f"/v1/tasks/{tasks[2]}/cancel", json={})
    other.locator(".hd").get_by_text("Cancelled").wait_for()
    assert all("/tasks/" not in url for url in streams)


def test_steps_that_undo_others_are_drawn_below_them(page: Any, site: Site) -> None:
    """Mirrored: from right to left."""
    task = site.create("shop.undo", text="no parcel")
    site.wait(task, "error")
    page.goto(f"tasks/{task}?view=graph")
    boxes = {}
    for name in ("reserve", "charge", "reserve.compensation", "charge.compensation"):
        node = page.locator(f'.node[data-step="{name}"]')
        node.wait_for()
        boxes[name] = node.bounding_box()

    for name in ("reserve", "charge"):
        above, below = boxes[name], boxes[f"{name}.compensation"]
        assert abs(above["x"] - below["x"]) < 5
        assert below["y"] > above["y"] + above["height"]
    edges = (page.locator(".edge.undo").count(), page.locator(".edge:not(.undo)").count())
    assert (2, 2) == edges
    assert [] == violations(page)


def test_the_graph_of_a_child_task_opens_in_its_place(page: Any, site: Site) -> None:
    """The address carries it, and its steps lead to its page."""
    task = site.create("shop.family", order="A-5")
    site.wait(task, "complete")
    page.goto(f"tasks/{task}")
    page.get_by_role("button", name="Graph of shop.order").click()
    page.wait_for_url(re.compile("child="))
    page.reload()
    page.locator(".child .node[data-step=charge_card]").wait_for()
    assert [] == violations(page)
    page.locator(".child .node[data-step=charge_card]").click()
    page.locator(".drawer h2", has_text="charge_card").wait_for()
    assert task not in page.url
